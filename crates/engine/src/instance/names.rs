//! Names for instances that were given none.

use coffer_model::InstanceName;
use uuid::Uuid;

use crate::error::EngineError;

const FIRST: [&str; 32] = [
    "able", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "eager", "fair", "fine", "fond", "fresh", "gentle",
    "glad", "grand", "happy", "keen", "kind", "light", "lively", "lucky", "merry", "neat", "proud", "quick", "quiet", "sharp", "still",
    "swift", "warm",
];
const SECOND: [&str; 32] = [
    "ash", "badger", "bear", "birch", "crane", "deer", "dove", "eagle", "elm", "falcon", "fox", "hare", "hawk", "heron", "ibex", "jay",
    "lark", "lynx", "maple", "marten", "mole", "otter", "owl", "pine", "raven", "robin", "seal", "swan", "tern", "trout", "wolf", "wren",
];

/// Finds a name of two words that `taken` does not know.
pub(crate) fn free(taken: impl Fn(&InstanceName) -> Result<bool, EngineError>) -> Result<InstanceName, EngineError> {
    for attempt in 0..64 {
        let [a, b, c, d, ..] = *Uuid::new_v4().as_bytes();
        let (first, second) = (FIRST[usize::from(a) % FIRST.len()], SECOND[usize::from(b) % SECOND.len()]);
        // After a few collisions the host is crowded: a number makes room.
        let text = if attempt < 8 { format!("{first}-{second}") } else { format!("{first}-{second}-{}", u16::from_be_bytes([c, d])) };
        let name: InstanceName = text.parse()?;
        if !taken(&name)? {
            return Ok(name);
        }
    }
    Err(EngineError::Refused("no free name was found; give the instance one".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_is_not_given() {
        let first = free(|_| Ok(false)).unwrap();
        assert_ne!(free(|name| Ok(*name == first)).unwrap(), first);
        assert!(free(|_| Ok(true)).is_err());
    }
}
