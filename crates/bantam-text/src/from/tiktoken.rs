//! Tokenisers from tiktoken's rank files: a line for each token, its bytes in base64, a space, its rank.

use super::kinds::GPT_4O;
use super::stops;
use crate::added::{Added, AddedTokens};
use crate::error::Error;
use crate::model::Model;
use crate::model::spans::Spans;
use crate::pretokenize::PreTokenizer;
use crate::spelling::Spelling;
use crate::tokenizer::{Parts, Roles, Tokenizer};
use crate::vocab::{Kind, PIECES_MAX, Vocab};

impl Tokenizer {
    /// A tokeniser from the rank file of an o200k vocabulary (GPT-4o, gpt-oss). The file has no special
    /// tokens; `special` gives their texts and ids.
    ///
    /// # Errors
    ///
    /// A line that is not base64, space, number is told with its number, and so is a rank or an id that is
    /// there twice.
    pub fn from_tiktoken(ranks: &[u8], special: &[(&str, u32)]) -> Result<Self, Error> {
        let mut tokens: Vec<(u32, Vec<u8>, Kind)> = Vec::new();
        for (i, line) in ranks.split(|&b| b == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            let (rank, bytes) = read_line(line).ok_or_else(|| {
                let found = crate::error::shorten(&String::from_utf8_lossy(line));
                Error::wanted(format!("line {}", i + 1), "base64, a space, a rank", format!("`{found}`"))
            })?;
            tokens.push((rank, bytes, Kind::Normal));
        }
        tokens.extend(special.iter().map(|&(text, id)| (id, text.as_bytes().to_vec(), Kind::Control)));
        tokens.sort_unstable_by_key(|token| token.0);
        let vocab = table(&tokens)?;
        let added: Vec<Added> =
            special.iter().map(|&(text, id)| Added::plain(id, text.to_owned(), Kind::Control)).collect();
        let id = |text: &str| special.iter().find(|s| s.0 == text).map(|s| s.1);
        let roles = Roles { bos: id("<|startoftext|>"), eos: id("<|endoftext|>"), ..Roles::default() };
        Ok(Self::new(Parts {
            model: Model::Spans(Spans::by_rank(&vocab)),
            vocab,
            stops: stops(&roles, &[], &added),
            added: AddedTokens::new(added)?,
            added_normalized: AddedTokens::default(),
            normalizers: vec![],
            pre_tokenizers: vec![PreTokenizer::isolate(GPT_4O)?],
            spelling: Spelling::Bytes,
            prefix: vec![],
            suffix: vec![],
            roles,
        }))
    }
}

/// The table of sorted tokens; ids that none has are unused.
fn table(tokens: &[(u32, Vec<u8>, Kind)]) -> Result<Vocab, Error> {
    let count = tokens.last().map_or(0, |last| last.0 as usize + 1);
    let mut vocab = Vocab::with_capacity(count)?;
    debug_assert!(count <= PIECES_MAX);
    for (id, bytes, kind) in tokens {
        if (*id as usize) < vocab.len() {
            return Err(Error::wanted("ranks", "each once", format!("{id} twice")));
        }
        while vocab.len() < *id as usize {
            vocab.push(&[], Kind::Unused, false)?;
        }
        vocab.push(bytes, *kind, *kind == Kind::Normal)?;
    }
    Ok(vocab)
}

fn read_line(line: &[u8]) -> Option<(u32, Vec<u8>)> {
    let space = line.iter().position(|&b| b == b' ')?;
    let rank = std::str::from_utf8(&line[space + 1..]).ok()?.trim().parse().ok()?;
    Some((rank, base64(&line[..space])?))
}

/// Standard alphabet, padding optional.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for &c in text.iter().take_while(|&&c| c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shown, Special};

    // "a" 0, "b" 1, " " 2, "ab" 3, " ab" 4
    const RANKS: &[u8] = b"YQ== 0\nYg== 1\nIA== 2\nYWI= 3\nIGFi 4\n";

    #[test]
    fn ranks_decide_what_joins_first() {
        let tokenizer = Tokenizer::from_tiktoken(RANKS, &[("<|endoftext|>", 7)]).unwrap();
        let ids = tokenizer.to_ids("ab abb<|endoftext|>", Special::Parse).unwrap();
        assert_eq!(ids, [3, 4, 1, 7]);
        assert_eq!(tokenizer.to_text(&ids, Shown::All), "ab abb<|endoftext|>");
        assert_eq!(tokenizer.stops(), [7]);
        assert_eq!(tokenizer.vocab_size(), 8);
    }

    #[test]
    fn broken_lines_are_told() {
        for (ranks, place) in
            [(&b"YQ== 0\nYg==\n"[..], "line 2"), (b"Y*== 0", "line 1"), (b"YQ== -1", "line 1")]
        {
            let message = Tokenizer::from_tiktoken(ranks, &[]).unwrap_err().to_string();
            assert!(message.contains(place), "{message}");
        }
        assert!(Tokenizer::from_tiktoken(b"YQ== 0\nYg== 0\n", &[]).is_err());
        assert!(Tokenizer::from_tiktoken(b"YQ== 4294967295\n", &[]).is_err());
    }
}
