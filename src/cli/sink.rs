//! The short form of a sink, `file:PATH,max_size=10M`, for flags and task files.

use super::units::parse_size;
use crate::vocabulary::{FileSink, Numbering, Sink};

/// Reads `discard`, `inherit`, `fifo:PATH[,direct]` or
/// `file:PATH[,max_size=SIZE][,max_files=N][,numbering=shift|count][,direct]`. A path that is not
/// absolute is handed to `absolute`. A path with a comma in it has no short form.
pub(crate) fn parse_sink(text: &str, absolute: impl Fn(&str) -> String) -> Result<Sink, String> {
    let (kind, rest) = match text.split_once(':') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (text, None),
    };
    match (kind, rest) {
        ("discard", None) => return Ok(Sink::Discard),
        ("inherit", None) => return Ok(Sink::Inherit),
        ("fifo" | "file", Some(_)) => {}
        _ => {
            return Err(format!(
                "{text:?} is not a sink: use discard, inherit, fifo:PATH or file:PATH"
            ));
        }
    }
    let mut parts = rest.unwrap_or_default().split(',');
    let path = parts.next().unwrap_or_default();
    if path.is_empty() {
        return Err(format!("{text:?} has no path"));
    }
    if kind == "fifo" {
        return parse_fifo(absolute(path), parts);
    }
    let mut sink = FileSink::new(absolute(path));
    for option in parts {
        set_file_option(&mut sink, option)?;
    }
    Ok(Sink::File(sink))
}

fn parse_fifo<'a>(path: String, options: impl Iterator<Item = &'a str>) -> Result<Sink, String> {
    let mut direct = false;
    for option in options {
        if option != "direct" {
            return Err(format!("a fifo has no option {option:?}, only direct"));
        }
        direct = true;
    }
    Ok(Sink::Fifo { path, direct })
}

fn set_file_option(sink: &mut FileSink, option: &str) -> Result<(), String> {
    match option.split_once('=') {
        None if option == "direct" => sink.direct = true,
        Some(("max_size", size)) => sink.max_size = Some(parse_size(size)?),
        Some(("max_files", number)) => {
            sink.max_files = number
                .parse()
                .map_err(|_| format!("max_files={number} is not a number of files"))?;
        }
        Some(("numbering", "shift")) => sink.numbering = Numbering::Shift,
        Some(("numbering", "count")) => sink.numbering = Numbering::Count,
        _ => {
            return Err(format!(
                "a file has no option {option:?}, only max_size=SIZE, max_files=N, \
                 numbering=shift|count and direct"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Sink, String> {
        parse_sink(text, |path| format!("/base/{path}"))
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(parse("discard"), Ok(Sink::Discard));
        assert_eq!(parse("inherit"), Ok(Sink::Inherit));
        assert_eq!(
            parse("fifo:x,direct"),
            Ok(Sink::Fifo { path: "/base/x".to_owned(), direct: true })
        );
        assert_eq!(parse("file:x"), Ok(Sink::File(FileSink::new("/base/x"))));
        let rotated = FileSink {
            max_size: Some(10 << 20),
            max_files: 3,
            numbering: Numbering::Count,
            direct: true,
            ..FileSink::new("/base/a:b")
        };
        let text = "file:a:b,max_size=10M,max_files=3,numbering=count,direct";
        assert_eq!(parse(text), Ok(Sink::File(rotated)));
    }

    #[test]
    fn what_is_no_sink_is_refused() {
        for text in [
            "",
            "file",
            "file:",
            "discard:x",
            "pipe:x",
            "fifo:x,max_size=1",
            "file:x,max_sise=1",
            "file:x,max_size=big",
            "file:x,max_files=-1",
            "file:x,numbering=up",
            "file:x,",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
