mod everything;

use everything::Words;

use super::*;

#[test]
fn equal_configurations_have_equal_versions() {
    let render = || render(&everything::config(&Words::default(), None)).version;
    assert_eq!(render(), render());
}
