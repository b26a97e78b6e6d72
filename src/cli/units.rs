//! Durations, sizes, signals and masks as people write them, for flags and task files.

use crate::vocabulary::Signal;
use bytesize::ByteSize;
use std::time::Duration;

/// `500ms`, `5s`, `2m`, `1h 30m`, `0`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim())
        .map_err(|_| format!("{text:?} is not a duration: use 500ms, 5s, 2m or 0"))?;
    // The protocol carries milliseconds in an exact JSON number.
    if duration.as_millis() >= 1 << 53 {
        return Err(format!("{text:?} is too long"));
    }
    Ok(duration)
}

/// A duration of at least 100 ms, the shortest interval that the daemon measures at.
pub(crate) fn parse_positive_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration < Duration::from_millis(100) {
        return Err("must be at least 100ms".to_owned());
    }
    Ok(duration)
}

/// Bytes as `1048576`, `64M`, `64MB`, `64MiB`, `1.5G`. K, M, G and T count in 1024 with and without
/// `i` and `B`, as systemd and Docker read them.
///
/// ```text
/// 64M = 64MB = 64MiB = 67108864
/// ```
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: use a number of bytes, 64M or 1GiB");
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        _ => return Err(wrong()),
    };
    let factor = 1_u64 << shift;
    let bytes = if number.contains('.') {
        let value: f64 = number.parse().map_err(|_| wrong())?;
        // Saturates, and is then refused below.
        (value * factor as f64) as u64
    } else {
        let value: u64 = number.parse().map_err(|_| wrong())?;
        value.saturating_mul(factor)
    };
    if bytes >= 1 << 53 {
        return Err(format!("{text:?} is too large"));
    }
    Ok(bytes)
}

/// `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
pub(crate) fn parse_signal(text: &str) -> Result<Signal, String> {
    text.parse().map_err(|unknown: crate::vocabulary::UnknownSignal| unknown.to_string())
}

/// An octal string of 0 to 777.
pub(crate) fn parse_umask(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mask = u32::from_str_radix(text, 8).ok().filter(|&mask| digits && mask <= 0o777);
    mask.ok_or_else(|| format!("{text:?} is not a mask: use an octal number of 0 to 777"))
}

/// A size for people: `64.0M`, `312B`.
pub(crate) fn show_size(bytes: u64) -> String {
    ByteSize(bytes).display().iec_short().to_string()
}

/// A span of time for people: its two largest units.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (whole, unit) = match seconds {
        0 if duration.is_zero() => (1, 1),
        0 => return format!("{}ms", duration.as_millis()),
        1..60 => (1, 1),
        60..3600 => (60, 1),
        3600..86_400 => (3600, 60),
        _ => (86_400, 3600),
    };
    let shown = if whole == 1 { seconds } else { seconds - seconds % unit };
    humantime::format_duration(Duration::from_secs(shown)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_in_1024() {
        let megabytes = 64 << 20;
        for text in ["64M", "64m", "64MB", "64MiB", "64Mi", "64 M", "67108864", "67108864B"] {
            assert_eq!(parse_size(text), Ok(megabytes), "{text}");
        }
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("1.5K"), Ok(1536));
        assert_eq!(parse_size("0"), Ok(0));
        for text in ["", "M", "-1", "1X", "1.2.3", ".", "9007199254740992", "99999999T", "1e3"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for text in ["", "5", "-1s", "s", "1 parsec", "99999999999y"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        assert!(parse_positive_duration("99ms").is_err());
        assert_eq!(parse_positive_duration("100ms"), Ok(Duration::from_millis(100)));
    }

    #[test]
    fn masks_are_octal() {
        assert_eq!(parse_umask("022"), Ok(0o22));
        assert_eq!(parse_umask("0"), Ok(0));
        for text in ["", "8", "1000", "-1", "0o22", "+2"] {
            assert!(parse_umask(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn spans_are_short() {
        let show = |seconds| show_duration(Duration::from_secs(seconds));
        assert_eq!(show(0), "0s");
        assert_eq!(show(59), "59s");
        assert_eq!(show(61), "1m 1s");
        assert_eq!(show(3725), "1h 2m");
        assert_eq!(show(90_061), "1day 1h");
        assert_eq!(show_duration(Duration::from_millis(12)), "12ms");
    }
}
