//! Signers: keys in files, and programs.

use threadline_export::seal::SignCommand;

use super::*;

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("key.pem");
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n\
               -----END PRIVATE KEY-----\n";
    std::fs::write(&path, pem).expect("a file");
    let mode = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    mode(0o644);
    let refused = seal::read_key_file(ORIGIN, &path).expect_err("an exposed key");
    assert!(
        matches!(refused, SealError::ExposedKey { mode: 0o644, .. }),
        "{refused}"
    );
    mode(0o600);
    let read = seal::read_key_file(ORIGIN, &path).expect("a key");
    assert_eq!(read.verifier_key(), key().verifier_key());
}

/// Signs standard input with the key of [`key`], as Python.
const SIGN: &str = "import sys\nsys.dont_write_bytecode = True\nsys.path.insert(0, sys.argv[1])\n\
    import base64, make_vectors\n\
    signature = make_vectors.sign(bytes([7] * 32), sys.stdin.buffer.read())[1]\n\
    sys.stdout.buffer.write(signature if sys.argv[2] == 'raw' else base64.b64encode(signature) + b'\\n')";

fn program(arguments: &[&str]) -> Signer {
    let arguments = arguments.iter().map(|&argument| argument.to_owned());
    SignCommand::new("python3", arguments, key().verifier_key().clone()).into()
}

#[test]
fn a_program_signs_checkpoints() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/verify");
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        for form in ["raw", "base64"] {
            trail.run(
                "INSERT INTO members SELECT coalesce(max(id), 0) + 1, 'x', 1, NULL FROM members",
            );
            let signer = program(&["-c", SIGN, examples, form]);
            publish_to(
                &mut conn,
                &signer,
                &Publication::directory(directory.path()),
            )
            .await
            .expect("a checkpoint");
        }
        export(&mut conn, directory.path()).await;
    });
    assert_eq!(verified(directory.path()).checkpoints, 2);
}

#[test]
fn a_program_that_does_not_sign_leaves_no_checkpoint() {
    let (trail, directory) = (trail(), TempDir::new().expect("a directory"));
    let publication = Publication::directory(directory.path());
    let absent = SignCommand::new("/no/such/program", [], key().verifier_key().clone()).into();
    block_on(async {
        let mut conn = trail.connect().await;
        seal::begin(&mut conn, ORIGIN).await.expect("a log");
        for (signer, expected) in [
            (absent, "No such file"),
            (program(&["-c", "raise SystemExit(3)"]), "exit status: 3"),
            (
                program(&["-c", "print('no signature')"]),
                "wrote no signature",
            ),
            (
                program(&["-c", "print('A' * 86 + '==')"]),
                "not of the public key",
            ),
        ] {
            let refused = publish_to(&mut conn, &signer, &publication).await;
            let refused = refused.expect_err("no signature");
            assert!(refused.to_string().contains(expected), "{refused}");
        }
        let state = seal::status(&mut conn)
            .await
            .expect("a state")
            .expect("a log");
        assert_eq!(state.checkpoint_size, None);
        // The clock record of a checkpoint that was not signed is not sealed.
        publish(&mut conn, directory.path())
            .await
            .expect("a checkpoint");
        export(&mut conn, directory.path()).await;
    });
    verified(directory.path());
}
