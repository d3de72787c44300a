//! Sizes as people read them.

const DECIMAL: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
const BINARY: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Writes bytes in powers of 1000, two decimals.
pub(crate) fn decimal_size(bytes: i64) -> String {
    size(bytes, 1000, &DECIMAL)
}

/// Writes bytes in powers of 1024, two decimals.
pub(crate) fn binary_size(bytes: i64) -> String {
    size(bytes, 1024, &BINARY)
}

/// Writes bytes as image lists do: in units of 1048576, called MB.
pub(crate) fn mebibytes(bytes: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let value = bytes as f64 / 1024.0 / 1024.0;
    format!("{value:.2}MB")
}

fn size(bytes: i64, base: i64, units: &[&str]) -> String {
    if bytes.abs() < base {
        return format!("{bytes}B");
    }
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let (mut value, step) = (bytes as f64, base as f64);
    let mut name = "B";
    for unit in units {
        value /= step;
        name = unit;
        if value.abs() < step {
            break;
        }
    }
    format!("{value:.2}{name}")
}

/// Reads a size such as `512MiB`, `1GB` or `4096`; `None` for percentages and anything else.
pub(crate) fn parse_size(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: i64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "" | "B" | "bytes" => 1,
        unit => {
            let power = |units: &[&str], base: i64| {
                let at = units.iter().position(|name| *name == unit)?;
                base.checked_pow(u32::try_from(at + 1).ok()?)
            };
            power(&DECIMAL, 1000).or_else(|| power(&BINARY, 1024))?
        }
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_look_as_in_lxc() {
        let shown = [decimal_size(866), decimal_size(2328), decimal_size(331_568), binary_size(38_584_320), binary_size(446_464)];
        assert_eq!(shown, ["866B", "2.33kB", "331.57kB", "36.80MiB", "436.00KiB"]);
        assert_eq!(mebibytes(71_094_556), "67.80MB");
        assert_eq!(binary_size(24_135_188_480), "22.48GiB");
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(["1GiB", "2MB", "7", "10%", "x"].map(parse_size), [Some(1 << 30), Some(2_000_000), Some(7), None, None]);
    }
}
