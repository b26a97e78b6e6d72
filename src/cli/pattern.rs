//! Shell-style patterns over the names of tasks: `*`, `?`, `[a-z]`, `[!a-z]`.

/// Whether this is a pattern; no name contains these characters.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether the whole name matches the pattern. An unclosed `[` is a plain character.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut taken) = (0, 0);
    // Where to go on when the last `*` has to take one byte more.
    let mut retry = None;
    loop {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, taken));
                at += 1;
                continue;
            }
            None if taken == name.len() => return true,
            Some(_) if taken < name.len() => {
                if let Some(length) = match_one(pattern.get(at..), name.get(taken)) {
                    at += length;
                    taken += 1;
                    continue;
                }
            }
            _ => {}
        }
        match retry {
            Some((next, from)) if from < name.len() => {
                retry = Some((next, from + 1));
                (at, taken) = (next, from + 1);
            }
            _ => return false,
        }
    }
}

/// How many bytes of the pattern match this one byte; none where they do not.
fn match_one(pattern: Option<&[u8]>, byte: Option<&u8>) -> Option<usize> {
    let (pattern, &byte) = (pattern?, byte?);
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => match parse_set(pattern, byte) {
            Some((inside, length)) => inside.then_some(length),
            None => (byte == b'[').then_some(1),
        },
        &plain => (plain == byte).then_some(1),
    }
}

/// Whether the byte is in the set that the pattern starts with, and the length of the set.
fn parse_set(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    let mut at = start;
    let mut inside = false;
    loop {
        let &low = pattern.get(at)?;
        // A closing bracket that comes first is one of the set.
        if low == b']' && at > start {
            return Some((inside != negated, at + 1));
        }
        let range = match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => Some(high),
            _ => None,
        };
        inside |= (low..=range.unwrap_or(low)).contains(&byte);
        at += if range.is_some() { 3 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name) in [
            ("*", "web"),
            ("*", ""),
            ("web-*", "web-"),
            ("web-*", "web-10"),
            ("*-1", "web-1-1"),
            ("*a*b*", "xxaxxbxx"),
            ("w?b", "web"),
            ("web-[0-9]", "web-7"),
            ("web-[!0-9]", "web-x"),
            ("web-[ab]", "web-b"),
            ("[]]x", "]x"),
            ("[a-]", "-"),
            ("[web", "[web"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("web-*", "web"),
            ("?", ""),
            ("web", "web-1"),
            ("web-[0-9]", "web-x"),
            ("web-[!0-9]", "web-7"),
            ("web-[0-9]", "web-10"),
            ("*-1", "web-1-2"),
            ("", "x"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        assert!(!matches(&"*a".repeat(50), &"a".repeat(40)));
        assert!(!matches(&format!("{}b", "*a".repeat(30)), &"a".repeat(200)));
    }
}
