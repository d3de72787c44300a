//! The trust password: kept as a salted scrypt hash, so that the database does not hold it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scrypt::Params;

use super::same_secret;

/// The hash takes 128 · 8 · 2^15 bytes (32 MiB) and about a tenth of a second.
const LOG_COST: u8 = 15;
const BLOCK: u32 = 8;
const LANES: u32 = 1;

/// Hashes a password with this salt.
pub fn hash(password: &str, salt: [u8; 16]) -> String {
    let parameters = Params::new(LOG_COST, BLOCK, LANES).expect("constants within scrypt's bounds");
    let mut output = [0; 32];
    scrypt::scrypt(password.as_bytes(), &salt, &parameters, &mut output).expect("32 bytes are an output that scrypt has");
    format!("scrypt${LOG_COST}${}${}", STANDARD.encode(salt), STANDARD.encode(output))
}

/// Says whether this is the password that was hashed.
pub fn verify(password: &str, hashed: &str) -> bool {
    let Some(salt) = hashed.split('$').nth(2).and_then(|text| STANDARD.decode(text).ok()).and_then(|salt| salt.try_into().ok()) else {
        return false;
    };
    same_secret(&hash(password, salt), hashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_fits() {
        let hashed = hash("sekret", [7; 16]);
        assert!(!hashed.contains("sekret") && hashed != hash("sekret", [8; 16]));
        assert!(verify("sekret", &hashed));
        assert!(!verify("sekre", &hashed) && !verify("", &hashed) && !verify("sekret", "true") && !verify("sekret", ""));
    }
}
