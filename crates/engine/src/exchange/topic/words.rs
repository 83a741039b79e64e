//! Words of topic patterns as numbers, each as long as a pattern has it. Hot path.

use crate::slab::Slab;
use foldhash::HashMap;
use smallvec::SmallVec;

/// What separates words.
const SEPARATOR: u8 = b'.';

/// The words of a key. An empty key has none; `a.` has two, the second one empty.
// rabbitmq: topic exchange, split_topic_key
pub(crate) fn split(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let skip = usize::from(key.is_empty());
    key.split(|&byte| byte == SEPARATOR).skip(skip)
}

/// Numbers of words.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    numbers: HashMap<Text, u32>,
    words: Slab<Word>,
}

/// Most words are short, and then stand in the table itself.
type Text = SmallVec<[u8; 16]>;

#[derive(Clone, Debug)]
struct Word {
    text: Text,
    uses: u32,
}

impl Words {
    /// The number of a word that a pattern has.
    #[inline]
    pub(super) fn number(&self, word: &[u8]) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    /// The number of a word that one more edge needs.
    pub(super) fn take(&mut self, text: &[u8]) -> u32 {
        if let Some(number) = self.number(text)
            && let Some(word) = self.words.get_mut(number)
        {
            word.uses += 1;
            return number;
        }
        let text = Text::from_slice(text);
        let number = self.words.insert(Word { text: text.clone(), uses: 1 });
        self.numbers.insert(text, number);
        number
    }

    /// Forgets a word that no edge needs any more.
    pub(super) fn release(&mut self, number: u32) {
        let Some(word) = self.words.get_mut(number) else { return };
        word.uses -= 1;
        if word.uses == 0
            && let Some(word) = self.words.remove(number)
        {
            self.numbers.remove(&*word.text);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}
