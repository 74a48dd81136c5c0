//! Notes and checkpoints, compared with `signed_note` and `tlog_tiles`.

use proptest::prelude::*;
use signed_note::{Note as TheirNote, Signer, StandardSigner, StandardVerifier, VerifierList};
use threadline_seal::checkpoint::{Checkpoint, CheckpointError};
use threadline_seal::digest::Digest;
use threadline_seal::key::{InvalidKey, SigningKey, VerifierKey};
use threadline_seal::note::{Note, NoteError};

use crate::log::{ORIGIN, key};

fn checkpoint() -> Checkpoint {
    Checkpoint::new(ORIGIN, 42, Digest::of(&[b"root"]))
}

/// A key of their format from the seed of `key()`.
fn their_signer() -> StandardSigner {
    use base64::Engine as _;
    let mut seed = vec![1];
    seed.extend([7; 32]);
    let encoded = base64::engine::general_purpose::STANDARD.encode(seed);
    let id = key().verifier_key().id();
    StandardSigner::new(&format!("PRIVATE+KEY+{ORIGIN}+{id:08x}+{encoded}")).unwrap()
}

fn known() -> Vec<VerifierKey> {
    vec![key().verifier_key().clone()]
}

#[test]
fn signed_note_accepts_our_notes_and_keys() {
    let note = TheirNote::from_bytes(checkpoint().sign(&key()).to_string().as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&key().verifier_key().to_string()).unwrap();
    let (known, others) = note
        .verify(&VerifierList::new(vec![Box::new(verifier)]))
        .unwrap();
    assert_eq!((known.len(), others.len()), (1, 0));
    let theirs = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((theirs.origin(), theirs.size()), (ORIGIN, 42));
    assert_eq!(&theirs.hash().0, checkpoint().root.as_bytes());
}

#[test]
fn notes_of_signed_note_are_accepted() {
    let text = checkpoint().to_string();
    let mut note = TheirNote::new(text.as_bytes(), &[]).unwrap();
    note.add_sigs(&[&their_signer() as &dyn Signer]).unwrap();
    assert_eq!(
        note.to_bytes(),
        checkpoint().sign(&key()).to_string().as_bytes()
    );
    assert_eq!(
        Checkpoint::open(&note.to_bytes(), &known()).unwrap(),
        checkpoint()
    );
}

#[test]
fn signatures_of_unknown_keys_are_ignored_beside_a_known_one() {
    let other = SigningKey::from_seed("witness.example", &[9; 32]).unwrap();
    let mut note = checkpoint().sign(&key());
    note.add(other.sign(note.text()));
    let bytes = note.to_string();
    assert_eq!(
        Checkpoint::open(bytes.as_bytes(), &known()).unwrap(),
        checkpoint()
    );
    let unknown = Note::parse(bytes.as_bytes()).unwrap();
    let third = SigningKey::from_seed("third.example", &[3; 32]).unwrap();
    let keys = [third.verifier_key().clone()];
    assert_eq!(unknown.verify(&keys).unwrap_err(), NoteError::UnknownKeys);
}

#[test]
fn a_checkpoint_signed_by_a_key_of_another_name_is_refused() {
    let other = SigningKey::from_seed("other.example", &[9; 32]).unwrap();
    let note = checkpoint().sign(&other).to_string();
    let error = Checkpoint::open(note.as_bytes(), &[other.verifier_key().clone()]).unwrap_err();
    assert!(
        matches!(error, CheckpointError::OtherOrigin { .. }),
        "{error}"
    );
}

#[test]
fn malformed_keys_are_refused() {
    let text = key().verifier_key().to_string();
    let with_id = text.replace(&format!("{:08x}", key().verifier_key().id()), "00000000");
    assert_eq!(
        with_id.parse::<VerifierKey>().unwrap_err(),
        InvalidKey::Id(ORIGIN.to_owned())
    );
    let other_algorithm = text.replace("+A", "+B");
    assert!(matches!(
        other_algorithm.parse::<VerifierKey>(),
        Err(InvalidKey::Algorithm(_))
    ));
    for text in [
        "",
        "name",
        "name+00000000",
        "name+00000000+AQ==",
        "name+00000000+%",
    ] {
        assert_eq!(
            text.parse::<VerifierKey>().unwrap_err(),
            InvalidKey::Format,
            "{text}"
        );
    }
    for name in ["", "two words", "a+b", "line\nfeed"] {
        assert!(SigningKey::from_seed(name, &[7; 32]).is_err(), "{name}");
    }
    assert!(matches!(
        SigningKey::from_pem(ORIGIN, "no key"),
        Err(InvalidKey::Pem)
    ));
}

#[test]
fn a_private_key_of_openssl_is_read() {
    // openssl genpkey -algorithm ed25519, with the seed of `key()`.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n\
               -----END PRIVATE KEY-----\n";
    let read = SigningKey::from_pem(ORIGIN, pem).unwrap();
    assert_eq!(read.verifier_key(), key().verifier_key());
}

#[test]
fn every_changed_byte_of_a_note_is_refused() {
    let note = checkpoint().sign(&key()).to_string().into_bytes();
    for place in 0..note.len() {
        for mask in [1, 0x20, 0x80] {
            let mut changed = note.clone();
            changed[place] ^= mask;
            // The last character of the base64 text has unused bits, which must be zero.
            assert!(
                Checkpoint::open(&changed, &known()).is_err(),
                "byte {place} ^ {mask}"
            );
        }
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        let _ = (Note::parse(&bytes), Checkpoint::parse(&text), text.parse::<VerifierKey>());
    }
}
