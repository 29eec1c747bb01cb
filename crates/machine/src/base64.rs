//! Standard base64 with padding, decoded strictly: what the service manager writes.

/// The bytes that `text` stands for; `None` if it is not complete groups of the standard alphabet
/// with padding at the end only, or has bits that no byte uses.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(groups.len() * 3);
    for (index, group) in groups.iter().enumerate() {
        let padding = group
            .iter()
            .rev()
            .take_while(|&&letter| letter == b'=')
            .count();
        let is_last = index + 1 == groups.len();
        if padding > 2 || (padding > 0 && !is_last) {
            return None;
        }
        let mut bits = 0_u32;
        for &letter in &group[..4 - padding] {
            bits = bits << 6 | sextet(letter)?;
        }
        bits <<= 6 * padding;
        // The first of the four bytes holds nothing: a group is 24 bits.
        let [_, decoded @ ..] = bits.to_be_bytes();
        let (used, unused) = decoded.split_at(3 - padding);
        if unused.iter().any(|&byte| byte != 0) {
            return None;
        }
        bytes.extend_from_slice(used);
    }
    Some(bytes)
}

fn sextet(letter: u8) -> Option<u32> {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_standard_examples() {
        let examples: [(&[u8], &[u8]); 8] = [
            (b"", b""),
            (b"Zg==", b"f"),
            (b"Zm8=", b"fo"),
            (b"Zm9v", b"foo"),
            (b"Zm9vYg==", b"foob"),
            (b"Zm9vYmFy", b"foobar"),
            (b"+/+/", b"\xfb\xff\xbf"),
            (b"c29tZSAyMDAwMDAgMjAwMDAwMAA=", b"some 200000 2000000\0"),
        ];
        for (text, bytes) in examples {
            assert_eq!(
                decode(text).as_deref(),
                Some(bytes),
                "{}",
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        let bad: [&[u8]; 9] = [
            b"Z",
            b"Zg=",
            b"Zg",
            b"Zg==Zg==",
            b"====",
            b"Z===",
            b"Zm9v\n",
            b"Z*9v",
            b"Zh==",
        ];
        for text in bad {
            assert_eq!(decode(text), None, "{}", text.escape_ascii());
        }
    }
}
