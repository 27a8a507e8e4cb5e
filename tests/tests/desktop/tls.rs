//! A server whose certificate is not accepted: expired, of another name, signed by nobody known. Each is told apart in `status`,
//! and nothing is lost. The command trusts a certificate authority that the test makes (`SSL_CERT_FILE`).

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use marea_tests::command::Device;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A token in form only: `{}` . `{"sub": ...}` . nothing that any server would accept.
const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";
const PAGE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 14\r\nConnection: close\r\n\r\n<h1>Hotel</h1>";

/// Somebody at a port of this machine with this certificate, who says the same to everyone.
async fn somebody_with(certificate: CertificateDer<'static>, key: &KeyPair) -> u16 {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate of this key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Whoever refuses the certificate goes away.
                let Ok(mut connection) = acceptor.accept(connection).await else { return };
                let mut heard = [0_u8; 4096];
                let _ = connection.read(&mut heard).await;
                let _ = connection.write_all(PAGE).await;
                let _ = connection.shutdown().await;
            });
        }
    });
    port
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).expect("a name")
}

#[tokio::test]
async fn a_certificate_that_is_refused_is_told_by_its_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("no name");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let trusted: PathBuf = folder.path().join("authority.pem");
    fs::write(&trusted, authority.self_signed(&authority_key).expect("a certificate").pem()).expect("a file");
    let authority = Issuer::new(authority, authority_key);

    let key = KeyPair::generate().expect("a key");
    let mut expired = named("127.0.0.1");
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let signed =
        |params: CertificateParams| params.signed_by(&key, &authority).expect("signed").der().clone();
    for (what, certificate, code, told) in [
        // That it is trusted is what makes the others say something.
        ("good", signed(named("127.0.0.1")), "captive_portal", ""),
        ("expired", signed(expired), "tls_failed", "check the clock"),
        ("of another name", signed(named("other.example")), "tls_failed", "another name"),
        (
            "signed by itself",
            named("127.0.0.1").self_signed(&key).expect("signed").der().clone(),
            "tls_failed",
            "not trusted",
        ),
    ] {
        let url = format!("https://127.0.0.1:{}", somebody_with(certificate, &key).await);
        let device = Device::new()
            .with("MAREA_TOKEN", TOKEN)
            .with("MAREA_ANON_KEY", "anon")
            .with("MAREA_URL", url)
            .with("SSL_CERT_FILE", trusted.to_str().expect("UTF-8"));
        device.record(&["--minutes", "5"]).await;
        device.run(&["sync", "--json"]).await.exits(3).error("offline");
        let status = device.json(&["status"]).await;
        assert_eq!(
            (&status["last_error"]["code"], &status["pending"]),
            (&code.into(), &1.into()),
            "{what}: {status}"
        );
        assert!(
            status["last_error"]["message"].as_str().is_some_and(|text| text.contains(told)),
            "{what}: {status}"
        );
    }
}
