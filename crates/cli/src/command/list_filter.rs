//! The filters of `list`.

use std::net::IpAddr;

use regex_lite::Regex;

use super::list::Entry;
use crate::error::CliError;

/// Filters that must all hold.
#[derive(Debug)]
pub(super) struct Filter(Vec<One>);

#[derive(Debug)]
enum One {
    /// A word: the start of a name, or a regular expression of one.
    Name { start: String, pattern: Regex },
    /// A property of the instance, one of several values.
    Property { property: Property, values: Vec<String> },
    /// An address inside a network.
    Address { family: &'static str, network: (IpAddr, u8) },
    /// A configuration key, each part shortened at will, and its value or a pattern of it.
    Config { key: String, value: String, pattern: Option<Regex> },
}

#[derive(Debug, Clone, Copy)]
enum Property {
    Kind,
    Status,
    Architecture,
    Location,
}

impl Filter {
    /// Reads the filters a user typed.
    pub(super) fn parse(words: &[String]) -> Result<Filter, CliError> {
        words.iter().map(|word| One::parse(word)).collect::<Result<_, _>>().map(Filter)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn needs_state(&self) -> bool {
        self.0.iter().any(|one| matches!(one, One::Address { .. }))
    }

    pub(super) fn keeps(&self, entry: &Entry) -> bool {
        self.0.iter().all(|one| one.keeps(entry))
    }

    /// Applies the filters to an instance as JSON.
    pub(super) fn keeps_text(&self, text: &str) -> bool {
        serde_json::from_str(text).is_ok_and(|entry: Entry| self.keeps(&entry))
    }
}

impl One {
    fn parse(word: &str) -> Result<One, CliError> {
        let bad = || CliError::BadFilter { filter: word.to_owned() };
        let pattern = |text: &str| Regex::new(&format!("^(?:{text})$"));
        let Some((key, value)) = word.split_once('=') else {
            return Ok(One::Name { start: word.to_owned(), pattern: pattern(word).map_err(|_| bad())? });
        };
        let property = |property| Ok(One::Property { property, values: value.split(',').map(str::to_lowercase).collect() });
        match key {
            "type" => property(Property::Kind),
            "status" => property(Property::Status),
            "architecture" => property(Property::Architecture),
            "location" => property(Property::Location),
            "ipv4" => Ok(One::Address { family: "inet", network: network(value).ok_or_else(bad)? }),
            "ipv6" => Ok(One::Address { family: "inet6", network: network(value).ok_or_else(bad)? }),
            _ => Ok(One::Config { key: key.to_owned(), value: value.to_owned(), pattern: pattern(value).ok() }),
        }
    }

    fn keeps(&self, entry: &Entry) -> bool {
        match self {
            One::Name { start, pattern } => entry.name.starts_with(start.as_str()) || pattern.is_match(&entry.name),
            One::Property { property, values } => {
                let value = match property {
                    Property::Kind => &entry.kind,
                    Property::Status => &entry.status,
                    Property::Architecture => &entry.architecture,
                    Property::Location => &entry.location,
                };
                values.contains(&value.to_lowercase())
            }
            One::Address { family, network } => {
                entry.addresses(family).iter().filter_map(|(address, _)| address.parse().ok()).any(|address| inside(address, *network))
            }
            One::Config { key, value, pattern } => entry.config().iter().any(|(name, found)| {
                let value_fits = || found.eq_ignore_ascii_case(value) || pattern.as_ref().is_some_and(|pattern| pattern.is_match(found));
                shortened(key, name) && value_fits()
            }),
        }
    }
}

/// Tells whether each part of `short` begins the same part of `full`.
fn shortened(short: &str, full: &str) -> bool {
    let (short, full): (Vec<_>, Vec<_>) = (short.split('.').collect(), full.split('.').collect());
    short.len() == full.len() && short.iter().zip(full).all(|(short, full)| full.starts_with(short))
}

/// Reads an address with or without the length of a prefix.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(most), |length| length.parse().ok())?;
    (length <= most).then_some((address, length))
}

fn inside(address: IpAddr, (network, length): (IpAddr, u8)) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    };
    let mask = if length == 0 { 0 } else { u128::MAX << (128 - u32::from(length)) };
    address.is_ipv4() == network.is_ipv4() && bits(address) & mask == bits(network) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, kept: bool) {
        let entry = r#"{"name":"web1","status":"Running","status_code":103,"type":"container","architecture":"x86_64",
            "expanded_config":{"user.role":"db","security.privileged":"true","volatile.eth0.hwaddr":"00:16:3e:01:02:03"},
            "state":{"network":{"eth0":{"type":"broadcast","addresses":[{"family":"inet","address":"10.1.2.3","scope":"global"}]}}}}"#;
        assert_eq!(Filter::parse(&[filter.to_owned()]).unwrap().keeps_text(entry), kept, "{filter}");
    }

    #[test]
    fn words_are_names() {
        check("we", true);
        check(".*1", true);
        check("eb", false);
        check("web2|web1", true);
    }

    #[test]
    fn pairs_are_properties_or_keys() {
        check("status=running", true);
        check("status=stopped,RUNNING", true);
        check("type=virtual-machine", false);
        check("s.privileged=true", true);
        check("u.role=web", false);
        check("volatile.eth0.hwaddr=00:16:3e:.*", true);
        check("ipv4=10.1.0.0/16", true);
        check("ipv4=10.1.2.4", false);
    }
}
