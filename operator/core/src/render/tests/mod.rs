mod everything;

use everything::Words;

use super::*;

#[test]
fn equal_configurations_have_equal_versions() {
    let render = || render(&everything::config(&Words::default(), None)).version;
    assert_eq!(render(), render());
}
#[test]
fn dump() {
    let address = "127.0.0.1".parse().ok();
    let files = render(&everything::config(&Words::default(), address));
    let out = std::path::Path::new("/tmp/render-ngx/live/gw");
    for (name, content) in files.files {
        let path = out.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}
