//! Shell-style patterns over the names of tasks: `*`, `?`, `[a-z]`, `[!a-z]`.

/// Whether this is a pattern; no name contains these characters.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether the whole name matches the pattern. One that cannot be (`[a`) matches nothing.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name))
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
            ("[web", "[web"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
