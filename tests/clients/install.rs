//! Other people's clients and their suites, installed from their registries below the build folder:
//! once, at the versions that `conformance/clients/` names, and not changed.

use crate::clients::programs;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const PYTHON: &str =
    "these tests need Python 3.11 or later with its venv module, and the Python package index";
const NODE: &str = "these tests need Node.js 18 or later with npm, and the npm registry";

/// A Python with what `conformance/clients/<client>/requirements.txt` names.
pub(crate) fn python(client: &str) -> PathBuf {
    let requirements = programs(client).join("requirements.txt");
    let place = installed(client, &read(&requirements), |place| {
        run(PYTHON, Command::new("python3").args(["-m", "venv"]).arg(place));
        run(PYTHON, pip(&place.join("bin/python"), "install").arg("-r").arg(&requirements));
    });
    place.join("bin/python")
}

/// A package's source as it was published, unpacked; `pin` is as in `celery==5.7.0`.
pub(crate) fn source(client: &str, pin: &str) -> PathBuf {
    let python = python(client);
    let (package, _version) = pin.split_once("==").expect("a version is pinned");
    let place = installed(&format!("source of {package}"), pin, |place| {
        let only = ["--no-deps", "--no-binary", package, "--dest"];
        run(PYTHON, pip(&python, "download").args(only).arg(place).arg(pin));
        let archive = only_entry(place, |name| name.ends_with(".tar.gz"));
        run(PYTHON, Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(place));
    });
    only_entry(&place, |name| place.join(name).is_dir())
}

/// The folder that has the `node_modules` of `conformance/clients/<client>/package-lock.json`.
pub(crate) fn node_modules(client: &str) -> PathBuf {
    node_modules_of(client, &programs(client), |_place| {})
}

/// The folder `name` that has the `node_modules` of `folder`'s package-lock.json, and what `then`
/// adds.
pub(crate) fn node_modules_of(name: &str, folder: &Path, then: impl FnOnce(&Path)) -> PathBuf {
    let files = ["package.json", "package-lock.json"].map(|name| folder.join(name));
    let recipe = files.each_ref().map(|file| read(file)).concat();
    installed(name, &recipe, |place| {
        for file in &files {
            let name = file.file_name().expect("a file has a name");
            fs::copy(file, place.join(name)).expect("the build folder can be written");
        }
        let quiet = ["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"];
        run(NODE, Command::new("npm").args(quiet).current_dir(place));
        then(place);
    })
}

/// The folder `name` below the build folder, filled by `install` unless that was done by the same
/// recipe before. Others who want it meanwhile, in this process or another, wait.
fn installed(name: &str, recipe: &str, install: impl FnOnce(&Path)) -> PathBuf {
    const WRITABLE: &str = "the build folder can be written";
    let clients = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients");
    fs::create_dir_all(&clients).expect(WRITABLE);
    let place = clients.join(name);
    let lock = File::create(place.with_extension("lock")).expect(WRITABLE);
    lock.lock().expect("files can be locked");
    let stamp = place.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|done| done == recipe) {
        return place;
    }
    if place.exists() {
        fs::remove_dir_all(&place).expect(WRITABLE);
    }
    fs::create_dir_all(&place).expect(WRITABLE);
    install(&place);
    fs::write(stamp, recipe).expect(WRITABLE);
    place
}

fn pip(python: &Path, verb: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", verb, "--quiet", "--no-input", "--disable-pip-version-check"]);
    command
}

fn run(needs: &str, command: &mut Command) {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|fault| panic!("{tool} cannot be run ({fault}): {needs}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} failed ({}): {needs}\n{said}", output.status);
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()))
}

/// The one entry of `folder` whose name `fits`.
fn only_entry(folder: &Path, fits: impl Fn(&str) -> bool) -> PathBuf {
    let entries = fs::read_dir(folder).expect("it was installed").map(|entry| entry.expect("it can be read"));
    let mut fitting = entries.filter(|entry| fits(&entry.file_name().to_string_lossy()));
    let found = fitting.next().expect("what was downloaded is there").path();
    assert!(fitting.next().is_none(), "{} has several of what it should have one of", folder.display());
    found
}
