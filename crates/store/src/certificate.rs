//! Certificates that the server trusts.

use coffer_model::{CertificateKind, Fingerprint, TrustedCertificate};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx};
use crate::error::{Entity, StoreError, Subject};

const SELECT: &str = "SELECT fingerprint, name, certificate, added_at, kind FROM certificates";

/// Adds a certificate. Returns its id.
///
/// # Errors
/// [`StoreError::Exists`].
pub fn insert(tx: &Tx<'_>, certificate: &TrustedCertificate) -> Result<i64, StoreError> {
    let id = tx.next_id(Entity::Certificate, "certificates")?;
    let TrustedCertificate { fingerprint, name, certificate, added_at, kind } = certificate;
    let values = params![id, fingerprint.as_str(), name, certificate, added_at.to_string(), kind.word()];
    let sql = "INSERT INTO certificates (id, fingerprint, name, certificate, added_at, kind) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    tx.run(&subject(fingerprint), sql, values)?;
    Ok(id)
}

/// Reads the certificates whose fingerprints begin with `prefix`, which has only hexadecimal digits.
///
/// # Errors
/// Only the database's.
pub fn with_prefix(conn: &Conn, prefix: &str) -> Result<Vec<TrustedCertificate>, StoreError> {
    let sql = format!("{SELECT} WHERE substr(fingerprint, 1, length(?1)) = ?1 ORDER BY fingerprint");
    conn.all(Entity::Certificate, &sql, [prefix], decode)
}

/// Reads all certificates in order of their fingerprints.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn) -> Result<Vec<TrustedCertificate>, StoreError> {
    with_prefix(conn, "")
}

/// Gives a certificate another name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn rename(tx: &Tx<'_>, fingerprint: &Fingerprint, name: &str) -> Result<(), StoreError> {
    tx.change(&subject(fingerprint), "UPDATE certificates SET name = ?2 WHERE fingerprint = ?1", [fingerprint.as_str(), name])
}

/// Removes a certificate.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, fingerprint: &Fingerprint) -> Result<(), StoreError> {
    tx.change(&subject(fingerprint), "DELETE FROM certificates WHERE fingerprint = ?1", [fingerprint.as_str()])
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<TrustedCertificate> {
    Ok(TrustedCertificate {
        fingerprint: columns.parse()?,
        name: columns.get()?,
        certificate: columns.get()?,
        added_at: columns.parse()?,
        kind: columns.word(CertificateKind::from_word)?,
    })
}

fn subject(fingerprint: &Fingerprint) -> Subject {
    Subject::new(Entity::Certificate, fingerprint)
}
