//! Cache folders of this user, of a group, and of an attacker.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test may panic, look at files, and say why it looked at nothing"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use super::*;
use crate::read::io_statistics::Counters;

const ROOM: u64 = 1 << 20;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn open(path: &Path) -> Result<Folder> {
    Folder::open(path.to_owned(), ROOM, true)
}

/// A shard and the place that it is fetched from.
async fn shard() -> (Location, Shard) {
    let place = Location::parse("memory:///shard.arrow").unwrap();
    let bytes = b"the bytes of a shard".repeat(100);
    let shard = Shard::of("shard.arrow".into(), 1, &bytes);
    place.put(bytes).await.unwrap();
    (place, shard)
}

async fn get(folder: &Folder) -> Result<Bytes> {
    let (place, shard) = shard().await;
    let fetcher = Fetcher::new(Arc::new(Counters::default()), 0);
    let bytes = folder.get(&place, &shard, &fetcher).await?;
    shard.check(&bytes, "it")?;
    Ok(bytes)
}

async fn name() -> String {
    let (_, shard) = shard().await;
    format!("{}-{}.arrow", shard.checksum, shard.bytes)
}

#[tokio::test]
async fn a_new_folder_and_its_files_are_this_users_alone() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("a/cache");
    for map in [true, false] {
        let folder = Folder::open(path.clone(), ROOM, map).unwrap();
        for _ in 0..2 {
            get(&folder).await.unwrap();
        }
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join(name().await)), 0o400);
        assert_eq!(mode(&path.join(LOCK)), 0o600);
        remove(&path.join(name().await)).unwrap();
    }
}

#[test]
fn a_folder_that_others_can_write_to_is_refused_unless_a_group_shares_it_on_purpose() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("cache");
    fs::create_dir(&path).unwrap();
    for (mode, reason) in [
        (0o777, "everybody can write to it"),
        (0o1777, "everybody can write to it"),
        (0o2777, "everybody can write to it"),
        (0o770, "its group can write to it"),
    ] {
        set_mode(&path, mode);
        let error = crate::with_causes(&open(&path).unwrap_err());
        for said in [reason, "chmod 700", "chmod 2770", "cache"] {
            assert!(error.contains(said), "{mode:o}: {error}");
        }
    }
    for mode in [0o700, 0o750, 0o755, 0o2770] {
        set_mode(&path, mode);
        open(&path).unwrap();
    }
}

/// Whatever lies under the names that the next file will have, nothing else is written to or removed.
#[tokio::test]
async fn links_under_the_names_of_files_are_not_followed() {
    let above = tempfile::tempdir().unwrap();
    let victim = above.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let name = name().await;
    for name in [format!("{name}.part"), name.clone(), LOCK.into()] {
        for hard in [false, true] {
            let path = above.path().join("cache");
            let folder = open(&path).unwrap();
            let trap = path.join(&name);
            match hard {
                true => fs::hard_link(&victim, &trap).unwrap(),
                false => symlink(&victim, &trap).unwrap(),
            }
            let error = crate::with_causes(&get(&folder).await.unwrap_err());
            let what = ["is a link", "has another name, too"][usize::from(hard)];
            assert!(error.contains(what) && error.contains(&name), "{error}");
            assert_eq!(fs::read(&victim).unwrap(), b"precious");
            fs::remove_dir_all(&path).unwrap();
        }
    }
    // Nor where there is nothing yet.
    let path = above.path().join("cache");
    let folder = open(&path).unwrap();
    let absent = above.path().join("absent");
    symlink(&absent, path.join(format!("{name}.part"))).unwrap();
    get(&folder).await.unwrap_err();
    assert!(!absent.exists());
}

/// One part of [`two_users_share_a_folder_and_a_third_does_not`], in a process of another user.
#[tokio::test]
#[ignore = "it is started by another test"]
async fn as_another_user() {
    let path = PathBuf::from(std::env::var("WELLSPRING_TEST_CACHE").unwrap());
    match open(&path) {
        Ok(folder) => {
            let before = fs::read_dir(&path).unwrap().count();
            let bytes = get(&folder).await.unwrap();
            eprintln!("had {} bytes, {before} files were there", bytes.len());
        }
        Err(error) => eprintln!("refused: {}", crate::with_causes(&error)),
    }
}

/// Runs [`as_another_user`], from a program that this user may read.
fn run_as(program: &Path, (user, group): (u32, u32), cache: &Path) -> String {
    let (_, module) = module_path!().split_once("::").unwrap();
    let Output { stderr, stdout, .. } = Command::new(program)
        .args(["--ignored", "--nocapture", "--exact"])
        .arg(format!("{module}::as_another_user"))
        .env("WELLSPRING_TEST_CACHE", cache)
        .gid(group)
        .uid(user)
        .current_dir("/")
        .output()
        .unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&stderr),
        String::from_utf8_lossy(&stdout)
    )
}

#[tokio::test]
async fn two_users_share_a_folder_and_a_third_does_not() {
    let above = tempfile::tempdir().unwrap();
    if fs::metadata(above.path()).unwrap().uid() != 0 {
        eprintln!("not looked at: only root can be two users");
        return;
    }
    set_mode(above.path(), 0o755);
    let program = above.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    set_mode(&program, 0o755);
    let path = above.path().join("cache");
    fs::create_dir(&path).unwrap();
    let (one, two, group) = (40_001, 40_002, 40_100);
    std::os::unix::fs::chown(&path, Some(one), Some(group)).unwrap();
    set_mode(&path, 0o2770);

    // What one fetches the other finds.
    let said = run_as(&program, (one, group), &path);
    assert!(said.contains("had 2000 bytes, 0 files"), "{said}");
    let file = path.join(name().await);
    let about = fs::metadata(&file).unwrap();
    assert_eq!((about.uid(), about.gid()), (one, group));
    assert_eq!((mode(&file), mode(&path.join(LOCK))), (0o440, 0o660));
    let said = run_as(&program, (two, group), &path);
    assert!(said.contains("had 2000 bytes, 2 files"), "{said}");

    // What one left half is another's to remove, and a file that one damaged is not taken.
    let part = path.join(format!("{}.part", name().await));
    // Fetched in part, or whole and about to get its name.
    for left in [0o660, 0o440] {
        for user in [one, two] {
            fs::remove_file(&file).unwrap();
            fs::write(&part, "half").unwrap();
            std::os::unix::fs::chown(&part, Some(one), Some(group)).unwrap();
            set_mode(&part, left);
            let said = run_as(&program, (user, group), &path);
            assert!(said.contains("had 2000 bytes"), "{left:o} {said}");
            assert!(!part.exists());
            assert_eq!(fs::metadata(&file).unwrap().uid(), user);
        }
    }
    set_mode(&file, 0o640);
    fs::write(&file, vec![0; 2000]).unwrap();
    let said = run_as(&program, (one, group), &path);
    assert!(said.contains("had 2000 bytes"), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().uid(), one);

    // A stranger is kept out by the system, and another's private folder is not taken.
    let said = run_as(&program, (two, two), &path);
    assert!(said.contains("test result: FAILED"), "{said}");
    set_mode(&path, 0o755);
    let said = run_as(&program, (two, group), &path);
    assert!(
        said.contains("refused") && said.contains("it is user 40001's"),
        "{said}"
    );

    // A link that one of the group plants is not followed, even by root.
    set_mode(&path, 0o2770);
    fs::remove_file(&file).unwrap();
    let victim = above.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &part).unwrap();
    get(&open(&path).unwrap()).await.unwrap_err();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}
