//! Numbers and texts one behind the other: a number in as many bytes as it needs, a text with its
//! length before it.

/// Adds to what is there.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    /// Seven bits in each byte, the lowest first; all but the last byte have the eighth.
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// What is near 0 on either side is short.
    pub(super) fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.piece(text.as_bytes());
    }

    /// Bytes with their length before them.
    pub(super) fn piece(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

/// What a [`Writer`] wrote, or what somebody says it did: past the end there is 0 and "".
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0_u64, 0);
        while let Some((&byte, rest)) = self.0.split_first() {
            self.0 = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    pub(super) fn signed(&mut self) -> i64 {
        let number = self.number();
        (number >> 1) as i64 ^ -((number & 1) as i64)
    }

    /// A text; one that is none is "".
    pub(super) fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.piece().unwrap_or_default()).unwrap_or_default()
    }

    /// Bytes with their length before them; `None`, and nothing more to read, where not all of
    /// them are there.
    pub(super) fn piece(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()).unwrap_or(usize::MAX);
        let found = self.0.split_at_checked(length);
        self.0 = found.map_or(&[], |(_, rest)| rest);
        found.map(|(piece, _)| piece)
    }

    /// Whether all has been read.
    pub(super) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_size() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        for number in numbers {
            let mut bytes = Vec::new();
            let mut writer = Writer(&mut bytes);
            writer.number(number);
            writer.signed(number as i64);
            writer.signed((number as i64).wrapping_neg());
            let mut reader = Reader(&bytes);
            assert_eq!(reader.number(), number);
            assert_eq!(reader.signed(), number as i64);
            assert_eq!(reader.signed(), (number as i64).wrapping_neg());
            assert!(reader.is_at_end());
            assert_eq!(reader.number(), 0, "past the end");
            assert_eq!(reader.text(), "");
        }
    }

    #[test]
    fn no_more_bytes_than_there_are() {
        let mut bytes = Vec::new();
        Writer(&mut bytes).text("web");
        assert_eq!(Reader(&bytes).piece(), Some(&b"web"[..]));
        for length in [4, u64::MAX] {
            let mut bytes = Vec::new();
            Writer(&mut bytes).number(length);
            bytes.extend_from_slice(b"web");
            let mut reader = Reader(&bytes);
            assert_eq!(reader.piece(), None);
            assert!(reader.is_at_end());
        }
        assert_eq!(Reader(b"\x02\xff\xff").text(), "", "not UTF-8");
    }
}
