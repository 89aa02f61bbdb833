//! Odd archives: each is refused with its code and a message with the reason, or the
//! archive that is written from it matches the model exactly.

use crate::odd::{Right, cases};
use crate::rewritten::rewrite_and_check;
use loader_model::Coded;
use std::collections::BTreeSet;

#[test]
fn each_is_refused_for_its_reason_or_becomes_exactly_the_model() {
    let mut wrong = Vec::new();
    for case in cases() {
        let outcome = std::panic::catch_unwind(|| rewrite_and_check(&case.bytes));
        let name = &case.name;
        match (outcome, case.right) {
            (Err(_), _) => wrong.push(format!("{name}: another reader finds something else, see above")),
            (Ok(Ok(images)), Right::Loaded(tags)) => {
                let found: BTreeSet<&str> = images.iter().flat_map(|image| &image.tags).map(String::as_str).collect();
                if found != tags.iter().copied().collect() {
                    wrong.push(format!("{name}: {found:?}, expected {tags:?}"));
                }
            }
            (Ok(Ok(images)), right) => wrong.push(format!("{name}: accepted as {images:?}, expected {right:?}")),
            (Ok(Err(error)), Right::Loaded(tags)) => {
                wrong.push(format!("{name}: {} {error}, expected {tags:?}", error.code()))
            }
            (Ok(Err(error)), Right::Refused(code, words)) => {
                let text = error.to_string();
                if error.code().as_str() != code || !words.iter().all(|word| text.contains(word)) || text.contains('\n')
                {
                    wrong.push(format!("{name}: {} {text}, expected {code} with {words:?}", error.code()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
