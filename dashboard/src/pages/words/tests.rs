//! Tests of the table against the code that uses its texts, and of every page in Korean.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_row_says_the_same_in_both_languages() {
    let mut keys = BTreeSet::new();
    for (english, korean) in TABLE.into_iter().flatten() {
        assert!(keys.insert(*english), "twice in the table: {english}");
        assert!(!korean.is_empty(), "{english}");
        let places = |text: &str| -> BTreeSet<String> {
            let places = text.split('{').skip(1);
            places
                .filter_map(|rest| Some(rest.split_once('}')?.0.to_owned()))
                .collect()
        };
        assert_eq!(places(english), places(korean), "{english}");
        let tags = |text: &str| text.matches('<').count();
        assert_eq!(tags(english), tags(korean), "{english}");
    }
}

#[test]
fn the_words_of_scripts_are_in_the_table() {
    let missing: Vec<_> = script::said()
        .filter(|words| Text::find_maybe(words).is_none())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let korean = of_scripts(Language::Korean);
    assert!(korean.contains("\"Copied\":\"복사됨\""), "{korean}");
}

#[test]
fn words_take_values_in_the_order_of_their_language() {
    let words = || t!("{n} of {all}", n = 2, all = 3);
    assert_eq!(words(), "2 of 3");
    assert_eq!(Language::Korean.within(words), "3개 중 2개");
    let counts = || {
        [
            tn!(1_u64, "{n} span", "{n} spans"),
            tn!(1_200_u64, "{n} span", "{n} spans"),
        ]
    };
    assert_eq!(counts(), ["1 span", "1,200 spans"]);
    assert_eq!(
        Language::Korean.within(counts),
        ["스팬 1개", "스팬 1,200개"]
    );
    // The part that distinguishes two meanings is not shown.
    assert_eq!(t!("Calls#verb"), "Calls");
    assert_eq!(
        h!("You are <b>{name}</b>.", name = "<i>").0,
        "You are <b>&#60;i&#62;</b>."
    );
}
