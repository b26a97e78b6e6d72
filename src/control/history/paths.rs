//! Paths of runs' groups: all but a few are one directory, the task's name, a dot and the run.

/// What such paths begin with: learned from the first, and then the same for all.
#[derive(Debug, Default)]
pub(super) struct Beginning(Option<String>);

/// A path.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum GroupPath<'a> {
    /// All of it.
    Whole(&'a str),
    /// What follows the beginning, the task's name and a dot.
    Run(&'a str),
}

impl Beginning {
    /// The path of the group of one of the task's runs.
    pub(super) fn shorten<'a>(&mut self, path: &'a str, name: &str) -> GroupPath<'a> {
        if self.0.is_none() {
            let before = path.rsplit_once('.').and_then(|(before, _)| before.strip_suffix(name));
            self.0 = before.map(str::to_owned);
        }
        let after = self.0.as_deref().and_then(|beginning| path.strip_prefix(beginning));
        let run = after.and_then(|after| after.strip_prefix(name)?.strip_prefix('.'));
        run.map_or(GroupPath::Whole(path), GroupPath::Run)
    }

    /// The whole path that was shortened.
    pub(super) fn whole(&self, path: GroupPath<'_>, name: &str) -> String {
        match path {
            GroupPath::Whole(path) => path.to_owned(),
            GroupPath::Run(run) => [self.0.as_deref().unwrap_or_default(), name, ".", run].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_out_as_it_went_in() {
        let mut beginning = Beginning::default();
        let mut shorten = |path: &str, name: &str| {
            let short = beginning.shorten(path, name);
            assert_eq!(beginning.whole(short, name), path);
            matches!(short, GroupPath::Run(_))
        };
        assert!(!shorten("", "web"));
        assert!(!shorten("/elsewhere", "web"));
        assert!(shorten("/groups/web.12", "web"), "learned from here");
        assert!(shorten("/groups/a.b-3.7", "a.b-3"));
        assert!(shorten("/groups/x.", "x"));
        assert!(!shorten("/other/web.13", "web"));
        assert!(!shorten("/groups/web.13", "db"));
        assert!(!shorten("/groups/website.13", "web"));
        assert!(!shorten("web.13", "web"));
        assert!(!shorten("/groups/", "web"));
    }
}
