//! Why something failed, for people.

use std::io;

/// The words of an error, without the number that `std` puts behind those of the kernel.
///
/// ```text
/// No such file or directory (os error 2) -> No such file or directory
/// ```
pub(crate) fn cause(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error.raw_os_error().map(|number| format!(" (os error {number})"));
    match number.and_then(|number| text.strip_suffix(&number)) {
        Some(words) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_left_out() {
        assert_eq!(cause(&io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(cause(&io::Error::other("as it is (os error 2)")), "as it is (os error 2)");
        assert_eq!(cause(&io::ErrorKind::TimedOut.into()), "timed out");
    }
}
