//! Arguments of the form `key=value`.

use std::collections::BTreeMap;

use crate::error::CliError;

/// Reads `key=value` arguments.
pub(crate) fn pairs(arguments: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    arguments.iter().map(|argument| pair(argument)).collect()
}

/// Reads `key=value` arguments, or the older form of two arguments, `key value`. A value of `-` stands for standard input.
pub(crate) fn pairs_or_two(arguments: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    match arguments {
        [key, value] if !key.contains('=') => Ok(BTreeMap::from([(key.clone(), value.clone())])),
        _ => pairs(arguments),
    }
}

/// Reads one `key=value`.
pub(crate) fn pair(argument: &str) -> Result<(String, String), CliError> {
    match argument.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(CliError::NotKeyValue { argument: argument.to_owned() }),
    }
}

/// Reads `device,key=value` arguments into devices.
pub(crate) fn devices(arguments: &[String]) -> Result<BTreeMap<String, BTreeMap<String, String>>, CliError> {
    let mut devices: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for argument in arguments {
        let bad = || CliError::NotOfForm { name: argument.clone(), form: "device,key=value" };
        let (device, rest) = argument.split_once(',').ok_or_else(bad)?;
        for part in rest.split(',') {
            let (key, value) = pair(part)?;
            devices.entry(device.to_owned()).or_default().insert(key, value);
        }
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn pairs_are_read() {
        assert_eq!(pairs(&words("a=1 b=c=d e=")).unwrap().len(), 3);
        assert!(pairs(&words("a")).is_err() && pairs(&words("=a")).is_err());
    }

    #[test]
    fn the_older_form_is_two_words() {
        assert_eq!(pairs_or_two(&words("limits.cpu 2")).unwrap()["limits.cpu"], "2");
        assert_eq!(pairs_or_two(&words("a=1 b=2")).unwrap().len(), 2);
        assert!(pairs_or_two(&words("a b c")).is_err());
    }

    #[test]
    fn devices_are_read() {
        let read = devices(&words("root,size=10GiB root,pool=p eth0,type=nic,network=n")).unwrap();
        assert_eq!((read["root"].len(), read["eth0"]["network"].as_str()), (2, "n"));
        assert!(devices(&words("root")).is_err());
    }
}
