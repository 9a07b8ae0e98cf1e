//! A tokeniser's pieces as the parser takes them: bytes, in which a token that is no text begins with `0xFF`.

use std::collections::HashMap;

use bantam_text::{Kind, Special, Tokenizer};
use llguidance::toktrie::{INVALID_TOKEN, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

/// Longer pieces are too deep for the trie; they are never allowed.
const WORD_BYTES_MAX: usize = 1000;

/// A tokeniser and its pieces in a trie.
pub(crate) struct Words {
    tokenizer: Tokenizer,
    trie: TokTrie,
}

impl Words {
    /// The pieces of the tokens that the model tells apart.
    pub(crate) fn new(tokenizer: &Tokenizer, vocab_size: usize, stops: &[u32]) -> Self {
        let words = words(tokenizer, vocab_size, stops);
        let stops: Vec<u32> = stops.iter().copied().filter(|id| (*id as usize) < vocab_size).collect();
        let eos = stops.first().copied().unwrap_or(INVALID_TOKEN);
        let trie = TokTrie::from(&TokRxInfo::new(vocab_size as u32, eos), &words);
        let trie = if stops.is_empty() { trie } else { trie.with_eos_tokens(&stops) };
        Words { tokenizer: tokenizer.clone(), trie }
    }

    /// The tokens of a text that goes on after another one; `None` where they do not spell it, as behind a normaliser.
    fn ids(&self, text: &str) -> Option<Vec<TokenId>> {
        // Nothing is put before what is not the beginning, and no token reaches across the cut.
        let text = format!("\u{2}{text}");
        let (mut ids, cuts) = self.tokenizer.to_ids_cut(&text, Special::AsText, &[1]).ok()?;
        let ids = ids.split_off(*cuts.first()?);
        let spelled: Vec<u8> = ids.iter().flat_map(|id| self.trie.token(*id)).copied().collect();
        (spelled == text.as_bytes()[1..]).then_some(ids)
    }
}

impl TokenizerEnv for Words {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let mut ids = Vec::new();
        for chunk in bytes.utf8_chunks() {
            let valid = chunk.valid();
            ids.extend(self.ids(valid).unwrap_or_else(|| self.trie.greedy_tokenize(valid.as_bytes())));
            ids.extend(self.trie.greedy_tokenize(chunk.invalid()));
        }
        ids
    }
}

fn words(tokenizer: &Tokenizer, vocab_size: usize, stops: &[u32]) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = vec![Vec::new(); vocab_size];
    let mut owners: HashMap<Vec<u8>, Kind> = HashMap::new();
    // Where a byte has a piece of its own besides the token for what has none, tokenisers make the piece.
    for is_last in [false, true] {
        for id in 0..vocab_size as u32 {
            let Some(piece) = tokenizer.piece(id).filter(|piece| (piece.kind == Kind::Byte) == is_last)
            else {
                continue;
            };
            let is_text = is_spelled(piece.kind) && !stops.contains(&id);
            let word = if is_text { piece.bytes } else { [&[MARK], &piece.bytes[..]].concat() };
            let is_usable = word.len() <= WORD_BYTES_MAX && is_text != word.starts_with(&[MARK]);
            if is_usable && piece.kind != Kind::Unused && !owners.contains_key(&word) {
                owners.insert(word.clone(), piece.kind);
                words[id as usize] = word;
            }
        }
    }
    words
}

/// Begins a word that is no text. No text in UTF-8 has this byte.
const MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

fn is_spelled(kind: Kind) -> bool {
    matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Byte)
}
