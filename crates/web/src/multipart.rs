//! Taking a form apart while it arrives. Source: RFC 2046, section 5.1; RFC 7578.
//!
//! The parts of an image are as large as its root file system, so nothing but the part of a delimiter is kept back.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem::Finder;

/// The longest head of a part.
const HEAD_LIMIT: usize = 16 << 10;

/// Takes a form apart.
pub struct Form {
    delimiter: Finder<'static>,
    buffer: BytesMut,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Preamble,
    /// Behind a delimiter: a line end or two hyphens follow.
    Delimiter,
    /// In the head of a part.
    Head,
    /// In the content of a part.
    Content,
    /// Behind the last delimiter.
    End,
}

/// A piece of a form.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A part begins.
    Part {
        /// The field's name.
        name: String,
        /// The file's name, where there is one.
        filename: Option<String>,
    },
    /// Content of the part.
    Content(Bytes),
    /// The form is complete.
    End,
}

/// Why a form cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The content type names no boundary, or one that the standard forbids.
    #[error("the form's boundary is missing or invalid")]
    Boundary,
    /// What follows a delimiter is neither a part nor the end.
    #[error("the form is damaged after a delimiter")]
    Delimiter,
    /// A part's head is too long or unreadable.
    #[error("the head of a part of the form is too long or has no field name")]
    Head,
    /// The body ended within the form.
    #[error("the form is cut off")]
    CutOff,
}

impl Form {
    /// Begins with the request's content type; `None` if that is no form.
    ///
    /// # Errors
    /// [`FormError::Boundary`].
    pub fn of_content_type(text: &str) -> Result<Option<Self>, FormError> {
        let (kind, rest) = text.split_once(';').unwrap_or((text, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Ok(None);
        }
        let boundary = parameter(rest, "boundary").ok_or(FormError::Boundary)?;
        let valid = (1..=70).contains(&boundary.len()) && boundary.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"');
        if !valid {
            return Err(FormError::Boundary);
        }
        let delimiter = Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        // The first delimiter has no line before it that would end.
        Ok(Some(Self { delimiter, buffer: BytesMut::from(&b"\r\n"[..]), state: State::Preamble }))
    }

    /// Adds the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next piece; `None` until more bytes are there.
    ///
    /// # Errors
    /// See [`FormError`].
    pub fn piece(&mut self) -> Result<Option<Piece>, FormError> {
        loop {
            match self.state {
                State::Preamble => match self.delimiter.find(&self.buffer) {
                    Some(at) => self.pass_delimiter(at),
                    None => {
                        let keep = self.buffer.len().saturating_sub(self.delimiter.needle().len());
                        self.buffer.advance(keep);
                        return Ok(None);
                    }
                },
                State::Delimiter => match self.buffer.first_chunk() {
                    Some(b"\r\n") => {
                        self.buffer.advance(2);
                        self.state = State::Head;
                    }
                    Some(b"--") => self.state = State::End,
                    Some(_) => return Err(FormError::Delimiter),
                    None => return Ok(None),
                },
                State::Head => match memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                    Some(at) if at <= HEAD_LIMIT => {
                        let head = self.buffer.split_to(at + 4);
                        self.state = State::Content;
                        return read_head(&head).map(Some);
                    }
                    None if self.buffer.len() <= HEAD_LIMIT => return Ok(None),
                    _ => return Err(FormError::Head),
                },
                State::Content => match self.delimiter.find(&self.buffer) {
                    Some(0) => self.pass_delimiter(0),
                    Some(at) => return Ok(Some(Piece::Content(self.buffer.split_to(at).freeze()))),
                    None => {
                        // A delimiter may have begun in the last bytes.
                        let whole = self.buffer.len().saturating_sub(self.delimiter.needle().len() - 1);
                        return Ok((whole > 0).then(|| Piece::Content(self.buffer.split_to(whole).freeze())));
                    }
                },
                State::End => return Ok(Some(Piece::End)),
            }
        }
    }

    /// Says that the body is over.
    ///
    /// # Errors
    /// [`FormError::CutOff`] if the form is not.
    pub fn finish(&self) -> Result<(), FormError> {
        if self.state == State::End { Ok(()) } else { Err(FormError::CutOff) }
    }

    fn pass_delimiter(&mut self, at: usize) {
        self.buffer.advance(at + self.delimiter.needle().len());
        self.state = State::Delimiter;
    }
}

fn read_head(head: &[u8]) -> Result<Piece, FormError> {
    let text = std::str::from_utf8(head).map_err(|_| FormError::Head)?;
    let disposition = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let (_, parameters) = disposition.and_then(|value| value.split_once(';')).ok_or(FormError::Head)?;
    let name = parameter(parameters, "name").ok_or(FormError::Head)?;
    Ok(Piece::Part { name, filename: parameter(parameters, "filename") })
}

/// Finds a parameter in `; a=b; c="d \" e"`.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_start_matches([';', ' ', '\t']).trim_end();
        let (value, after) = value(after)?;
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a form apart that arrives `step` bytes at a time; neighbouring content is joined.
    fn take(body: &[u8], step: usize) -> String {
        let mut form = Form::of_content_type("multipart/form-data; boundary=XX").unwrap().unwrap();
        let mut log: Vec<String> = Vec::new();
        let mut content = Vec::new();
        for bytes in body.chunks(step) {
            form.push(bytes);
            loop {
                let piece = form.piece();
                if !matches!(piece, Ok(None | Some(Piece::Content(_)))) && !content.is_empty() {
                    log.push(String::from_utf8(std::mem::take(&mut content)).unwrap().escape_debug().to_string());
                }
                match piece {
                    Ok(None) => break,
                    Ok(Some(Piece::Content(bytes))) => content.extend_from_slice(&bytes),
                    Ok(Some(Piece::Part { name, filename })) => log.push(format!("<{name} {filename:?}>")),
                    Ok(Some(Piece::End)) => return log.join(" ") + " end",
                    Err(error) => return log.join(" ") + " " + &error.to_string(),
                }
            }
        }
        log.join(" ") + " " + &form.finish().map_or_else(|error| error.to_string(), |()| "end".into())
    }

    #[track_caller]
    fn check(body: &str, expect: &str) {
        for step in 1..=body.len().max(1) {
            assert_eq!(take(body.as_bytes(), step).trim(), expect, "{step} bytes at a time");
        }
    }

    #[test]
    fn forms() {
        check(
            "--XX\r\nContent-Disposition: form-data; name=\"metadata\"; filename=\"meta.tar\"\r\nContent-Type: application/octet-stream\r\n\r\n\
             a\r\n--X\r\n-b\r\n--XX\r\ncontent-disposition:form-data;name=rootfs\r\n\r\n\r\n--XX--\r\ngarbage",
            r#"<metadata Some("meta.tar")> a\r\n--X\r\n-b <rootfs None> end"#,
        );
        check("preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"a \\\" b\"\r\n\r\nx\r\n--XX--", "<a \" b None> x end");
    }

    #[test]
    fn damaged_forms() {
        check("--XX\r\nContent-Disposition: form-data; name=a\r\n\r\nabc", "<a None> the form is cut off");
        check("--XXYZ", "the form is damaged after a delimiter");
        check("--XX\r\nContent-Type: text/plain\r\n\r\n", "the head of a part of the form is too long or has no field name");
        check("nothing", "the form is cut off");
    }

    #[test]
    fn content_types() {
        let boundary = |text: &str| Form::of_content_type(text).map(|form| form.map(|form| form.delimiter.needle().to_vec()));
        assert_eq!(boundary("Multipart/Form-Data; charset=x; boundary=\"a b\""), Ok(Some(b"\r\n--a b".to_vec())));
        assert_eq!(boundary("application/octet-stream"), Ok(None));
        assert_eq!(boundary("multipart/form-data"), Err(FormError::Boundary));
        assert_eq!(boundary("multipart/form-data; boundary="), Err(FormError::Boundary));
    }
}
