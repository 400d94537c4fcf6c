//! Names from an archive in messages and advice: advice gets copied into a shell, messages stand in a list.

use std::borrow::Cow;

/// A word as a shell takes it for itself.
pub(in crate::rewrite) fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"/._-+:@%,".contains(&letter);
    if !word.is_empty() && word.bytes().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

/// Spells control characters out: a name from the archive must not look like another line of the list.
pub(in crate::rewrite) fn one_line(text: &str) -> String {
    let spell = |letter: char| {
        let spelt = letter.is_control().then(|| letter.escape_default());
        spelt
            .into_iter()
            .flatten()
            .chain((!letter.is_control()).then_some(letter))
            .collect::<String>()
    };
    text.chars().map(spell).collect()
}
