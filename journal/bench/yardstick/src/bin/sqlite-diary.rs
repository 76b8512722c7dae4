//! A small MLS program as many are written: OpenMLS on its own SQLite storage, each call its own
//! transaction. It keeps a diary: each entry is a Commit, its merge, and one message.
//!
//! It knows nothing of the crash tests and is an example for them: `cargo xtask crash --full` records
//! it, derives what a crash could have left, and reports the states from which `check` cannot go on.
//! Nothing in this project keeps its state like this.
//!
//! ```text
//! sqlite-diary write DIR LOG COUNT    begin a diary and write so many entries; LOG gets a line
//!                                     before anything is sent
//! sqlite-diary check DIR LOG          start from DIR as it is and write one entry more
//! ```

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use openmls::group::{GroupId, MlsGroup, MlsGroupCreateConfig};
use openmls::prelude::{
    BasicCredential, Ciphersuite, CredentialWithKey, KeyPackage, LeafNodeParameters,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider as _;
use tls_codec::Serialize as _;
use yardstick::Outcome;
use yardstick::sqlite::{SqliteMode, SqliteProvider};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
const DATABASE: &str = "diary.db";
/// The writer's public key, by which its signature key is found.
const WRITER: &str = "writer.pub";
/// There is no diary (yet): nothing that could be broken.
const NONE_YET: &str = "no diary has been begun";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["write", dir, log, count] => write(Path::new(dir), Path::new(log), count),
        ["check", dir, log] => check(Path::new(dir), Path::new(log)),
        _ => Err("sqlite-diary write DIR LOG COUNT | check DIR LOG".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn key_pair(name: &str) -> Outcome<(SignatureKeyPair, CredentialWithKey)> {
    let keys = SignatureKeyPair::new(SUITE.signature_algorithm())?;
    let credential = CredentialWithKey {
        credential: BasicCredential::new(name.as_bytes().to_vec()).into(),
        signature_key: keys.to_public_vec().into(),
    };
    Ok((keys, credential))
}

fn group_id() -> GroupId {
    GroupId::from_slice(b"diary")
}

fn write(dir: &Path, log: &Path, count: &str) -> Outcome<()> {
    let provider = SqliteProvider::open(&dir.join(DATABASE), SqliteMode::Default)?;
    let (keys, credential) = key_pair("writer")?;
    keys.store(provider.storage())?;
    let config = MlsGroupCreateConfig::builder()
        .ciphersuite(SUITE)
        .use_ratchet_tree_extension(true)
        .build();
    let mut group = MlsGroup::new_with_group_id(&provider, &keys, &config, group_id(), credential)?;
    let reader = openmls_libcrux_crypto::Provider::new()?;
    let (reader_keys, reader_credential) = key_pair("reader")?;
    let package = KeyPackage::builder().build(SUITE, &reader, &reader_keys, reader_credential)?;
    group.add_members(&provider, &keys, &[package.key_package().clone()])?;
    group.merge_pending_commit(&provider)?;
    let mut log = File::options().create(true).append(true).open(log)?;
    std::fs::write(dir.join(WRITER), keys.to_public_vec())?;
    File::open(dir.join(WRITER))?.sync_all()?;
    File::open(dir)?.sync_all()?;
    log.write_all(b"begun\n")?;
    for _ in 0..count.parse::<u32>()? {
        entry(&provider, &mut group, &keys, &mut log)?;
    }
    Ok(())
}

/// A Commit, its merge, a message. What is sent is written down before.
fn entry(
    provider: &SqliteProvider,
    group: &mut MlsGroup,
    keys: &SignatureKeyPair,
    log: &mut impl std::io::Write,
) -> Outcome<()> {
    let parameters = LeafNodeParameters::default();
    let (commit, _, _) = group
        .self_update(provider, keys, parameters)?
        .into_contents();
    let sent = commit.tls_serialize_detached()?.len();
    let next = group.epoch().as_u64() + 1;
    log.write_all(format!("commit {next} {sent}\n").as_bytes())?;
    group.merge_pending_commit(provider)?;
    let message = group.create_message(provider, keys, b"dear diary")?;
    let sent = message.tls_serialize_detached()?.len();
    log.write_all(format!("message {next} {sent}\n").as_bytes())?;
    Ok(())
}

/// A start from whatever is there. A group that had told others of an epoch must be able to reach it.
fn check(dir: &Path, log: &Path) -> Outcome<()> {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let told = said
        .lines()
        .filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    let told = told.max();
    if !said.contains("begun") {
        eprintln!("{NONE_YET}");
        return Ok(());
    }
    let provider = SqliteProvider::open(&dir.join(DATABASE), SqliteMode::Default)?;
    let public = std::fs::read(dir.join(WRITER))?;
    let scheme = SUITE.signature_algorithm();
    let keys = SignatureKeyPair::read(provider.storage(), &public, scheme)
        .ok_or("the signature key is gone")?;
    let mut group = MlsGroup::load(provider.storage(), &group_id())?.ok_or("the group is gone")?;
    if group.pending_commit().is_some() {
        group.merge_pending_commit(&provider)?;
    }
    let epoch = group.epoch().as_u64();
    if told.is_some_and(|told| epoch < told) {
        return Err(format!("others were told of epoch {told:?}; the group is in {epoch}").into());
    }
    entry(&provider, &mut group, &keys, &mut std::io::sink())?;
    // The state that this entry left must load as well.
    let group = MlsGroup::load(provider.storage(), &group_id())?.ok_or("the group is gone")?;
    if group.epoch().as_u64() != epoch + 1 {
        return Err("an entry did not move the group on".into());
    }
    Ok(())
}
