//! A value with its order kept, between API objects and YAML.

use std::fmt::Display;

use serde::Serialize;
use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    /// Written as it stands: numbers, truths, times.
    Plain(String),
    Text(String),
    List(Vec<Node>),
    /// Fields of an object, in the order of its declaration.
    Object(Vec<(String, Node)>),
    /// Entries of a map, to be sorted.
    Map(Vec<(String, Node)>),
}

/// Why a value has no form here; no API object is such a value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NodeError(String);

impl ser::Error for NodeError {
    fn custom<T: Display>(message: T) -> Self {
        NodeError(message.to_string())
    }
}

/// Turns a value into a node.
pub(crate) fn node<T: Serialize + ?Sized>(value: &T) -> Result<Node, NodeError> {
    value.serialize(Builder)
}

struct Builder;

/// Collects the parts of a list, map or object.
struct Parts {
    kind: Kind,
    variant: Option<&'static str>,
    items: Vec<Node>,
    entries: Vec<(String, Node)>,
    key: String,
}

#[derive(Clone, Copy)]
enum Kind {
    List,
    Object,
    Map,
}

impl Parts {
    fn new(kind: Kind, variant: Option<&'static str>) -> Result<Parts, NodeError> {
        Ok(Parts { kind, variant, items: Vec::new(), entries: Vec::new(), key: String::new() })
    }

    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NodeError> {
        self.items.push(node(value)?);
        Ok(())
    }

    fn finish(self) -> Result<Node, NodeError> {
        let inner = match self.kind {
            Kind::List => Node::List(self.items),
            Kind::Object => Node::Object(self.entries),
            Kind::Map => Node::Map(self.entries),
        };
        Ok(match self.variant {
            Some(variant) => Node::Object(vec![(variant.to_owned(), inner)]),
            None => inner,
        })
    }
}

macro_rules! plain {
    ($($method:ident: $kind:ty),*) => { $(
        fn $method(self, value: $kind) -> Result<Node, NodeError> { Ok(Node::Plain(value.to_string())) }
    )* };
}

impl ser::Serializer for Builder {
    type Ok = Node;
    type Error = NodeError;
    type SerializeSeq = Parts;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    plain!(serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_u8: u8,
           serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32, serialize_f64: f64);

    fn serialize_char(self, value: char) -> Result<Node, NodeError> {
        Ok(Node::Text(value.to_string()))
    }

    fn serialize_str(self, value: &str) -> Result<Node, NodeError> {
        Ok(Node::Text(value.to_owned()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Node, NodeError> {
        Ok(Node::Text(String::from_utf8_lossy(value).into_owned()))
    }

    fn serialize_none(self) -> Result<Node, NodeError> {
        Ok(Node::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Node, NodeError> {
        node(value)
    }

    fn serialize_unit(self) -> Result<Node, NodeError> {
        Ok(Node::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Node, NodeError> {
        Ok(Node::Null)
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<Node, NodeError> {
        Ok(Node::Text(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<Node, NodeError> {
        match node(value)? {
            Node::Text(text) if name == "Timestamp" => Ok(Node::Plain(text)),
            other => Ok(other),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Node, NodeError> {
        Ok(Node::Object(vec![(variant.to_owned(), node(value)?)]))
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Parts, NodeError> {
        Parts::new(Kind::List, None)
    }

    fn serialize_tuple(self, _length: usize) -> Result<Parts, NodeError> {
        Parts::new(Kind::List, None)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Parts, NodeError> {
        Parts::new(Kind::List, None)
    }

    fn serialize_tuple_variant(self, _name: &'static str, _index: u32, variant: &'static str, _length: usize) -> Result<Parts, NodeError> {
        Parts::new(Kind::List, Some(variant))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Parts, NodeError> {
        Parts::new(Kind::Map, None)
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Parts, NodeError> {
        Parts::new(Kind::Object, None)
    }

    fn serialize_struct_variant(self, _name: &'static str, _index: u32, variant: &'static str, _length: usize) -> Result<Parts, NodeError> {
        Parts::new(Kind::Object, Some(variant))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<Node, NodeError> {
        Ok(Node::Text(value.to_string()))
    }
}

impl SerializeSeq for Parts {
    type Ok = Node;
    type Error = NodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NodeError> {
        self.push(value)
    }

    fn end(self) -> Result<Node, NodeError> {
        self.finish()
    }
}

impl SerializeTuple for Parts {
    type Ok = Node;
    type Error = NodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NodeError> {
        self.push(value)
    }

    fn end(self) -> Result<Node, NodeError> {
        self.finish()
    }
}

impl SerializeTupleStruct for Parts {
    type Ok = Node;
    type Error = NodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NodeError> {
        self.push(value)
    }

    fn end(self) -> Result<Node, NodeError> {
        self.finish()
    }
}

impl SerializeTupleVariant for Parts {
    type Ok = Node;
    type Error = NodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NodeError> {
        self.push(value)
    }

    fn end(self) -> Result<Node, NodeError> {
        self.finish()
    }
}

impl SerializeMap for Parts {
    type Ok = Node;
    type Error = NodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NodeError> {
        self.key = match node(key)? {
            Node::Plain(key) | Node::Text(key) => key,
            _ => return Err(ser::Error::custom("a key is no text")),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NodeError> {
        self.entries.push((std::mem::take(&mut self.key), node(value)?));
        Ok(())
    }

    fn end(self) -> Result<Node, NodeError> {
        self.finish()
    }
}

impl SerializeStruct for Parts {
    type Ok = Node;
    type Error = NodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), NodeError> {
        // Go writes fields without a YAML name in lower case, and those are the only ones that have another here.
        self.entries.push((key.to_ascii_lowercase(), node(value)?));
        Ok(())
    }

    fn end(self) -> Result<Node, NodeError> {
        self.finish()
    }
}

impl SerializeStructVariant for Parts {
    type Ok = Node;
    type Error = NodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), NodeError> {
        self.entries.push((key.to_ascii_lowercase(), node(value)?));
        Ok(())
    }

    fn end(self) -> Result<Node, NodeError> {
        self.finish()
    }
}
