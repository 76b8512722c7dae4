//! What a phone whose program is not ours may say: a provider whose new public keys have another length than
//! the suite's, and proposals that no phone makes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openmls::credentials::NewSignerBundle;
use openmls::group::MlsGroup;
use openmls::prelude::{
    ApplicationIdExtension, BasicCredential, Capabilities, CredentialWithKey, Extension,
    Extensions, KeyPackage, LeafNode, LeafNodeIndex, LeafNodeParameters, MlsMessageOut,
};
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_basic_credential::SignatureKeyPair;
use openmls_libcrux_crypto::CryptoProvider;
use openmls_traits::OpenMlsProvider;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::types::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeCiphertext, HpkeConfig,
    HpkeKeyPair, KemOutput, SignatureScheme,
};
use tls_codec::SecretVLBytes;

use crate::Suite;
use crate::mls_storage::{MlsProvider, MlsStorage};

/// What is wrong with a public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Odd {
    /// It has this many bytes.
    Length(usize),
    /// It has its length, and is no key: of ML-KEM one that is not reduced, of X25519 one of low order.
    Invalid,
}

/// A provider that makes one odd key pair.
pub(crate) struct OddKeys<'a, 't, 'j> {
    inner: &'a MlsProvider<'t, 'j>,
    crypto: OddCrypto,
}

impl<'a, 't, 'j> OddKeys<'a, 't, 'j> {
    /// The key pair with this number, from 0, is odd.
    pub(crate) fn new(
        inner: &'a MlsProvider<'t, 'j>,
        crypto: Arc<CryptoProvider>,
        odd: Odd,
        number: usize,
    ) -> Self {
        let crypto = OddCrypto {
            inner: crypto,
            odd,
            number,
            made: AtomicUsize::new(0),
        };
        Self { inner, crypto }
    }
}

impl<'t, 'j> OpenMlsProvider for OddKeys<'_, 't, 'j> {
    type CryptoProvider = OddCrypto;
    type RandProvider = CryptoProvider;
    type StorageProvider = MlsStorage<'t, 'j>;

    fn storage(&self) -> &Self::StorageProvider {
        self.inner.storage()
    }

    fn crypto(&self) -> &Self::CryptoProvider {
        &self.crypto
    }

    fn rand(&self) -> &Self::RandProvider {
        self.inner.rand()
    }
}

pub(crate) struct OddCrypto {
    inner: Arc<CryptoProvider>,
    odd: Odd,
    number: usize,
    made: AtomicUsize,
}

type Answer<T> = Result<T, CryptoError>;

impl OpenMlsCrypto for OddCrypto {
    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Answer<HpkeKeyPair> {
        let mut pair = self.inner.derive_hpke_keypair(config, ikm)?;
        if self.made.fetch_add(1, Ordering::Relaxed) == self.number {
            match self.odd {
                Odd::Length(bytes) => pair.public.resize(bytes, 0),
                Odd::Invalid if pair.public.len() > 32 => pair.public.fill(0xff),
                Odd::Invalid => pair.public.fill(0),
            }
        }
        Ok(pair)
    }

    fn supports(&self, ciphersuite: Ciphersuite) -> Answer<()> {
        self.inner.supports(ciphersuite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        self.inner.supported_ciphersuites()
    }

    fn hkdf_extract(&self, hash: HashType, salt: &[u8], ikm: &[u8]) -> Answer<SecretVLBytes> {
        self.inner.hkdf_extract(hash, salt, ikm)
    }

    fn hmac(&self, hash: HashType, key: &[u8], message: &[u8]) -> Answer<SecretVLBytes> {
        self.inner.hmac(hash, key, message)
    }

    fn hkdf_expand(
        &self,
        hash: HashType,
        prk: &[u8],
        info: &[u8],
        okm_len: usize,
    ) -> Answer<SecretVLBytes> {
        self.inner.hkdf_expand(hash, prk, info, okm_len)
    }

    fn hash(&self, hash: HashType, data: &[u8]) -> Answer<Vec<u8>> {
        self.inner.hash(hash, data)
    }

    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Answer<Vec<u8>> {
        self.inner.aead_encrypt(alg, key, data, nonce, aad)
    }

    fn aead_decrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        ct_tag: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Answer<Vec<u8>> {
        self.inner.aead_decrypt(alg, key, ct_tag, nonce, aad)
    }

    fn signature_key_gen(&self, alg: SignatureScheme) -> Answer<(Vec<u8>, Vec<u8>)> {
        self.inner.signature_key_gen(alg)
    }

    fn verify_signature(
        &self,
        alg: SignatureScheme,
        data: &[u8],
        pk: &[u8],
        signature: &[u8],
    ) -> Answer<()> {
        self.inner.verify_signature(alg, data, pk, signature)
    }

    fn sign(&self, alg: SignatureScheme, data: &[u8], key: &[u8]) -> Answer<Vec<u8>> {
        self.inner.sign(alg, data, key)
    }

    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        aad: &[u8],
        ptxt: &[u8],
    ) -> Answer<HpkeCiphertext> {
        self.inner.hpke_seal(config, pk_r, info, aad, ptxt)
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        sk_r: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Answer<Vec<u8>> {
        self.inner.hpke_open(config, input, sk_r, info, aad)
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        pk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Answer<(KemOutput, ExporterSecret)> {
        let (context, length) = (exporter_context, exporter_length);
        self.inner
            .hpke_setup_sender_and_export(config, pk_r, info, context, length)
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        sk_r: &[u8],
        info: &[u8],
        exporter_context: &[u8],
        exporter_length: usize,
    ) -> Answer<ExporterSecret> {
        let (context, length) = (exporter_context, exporter_length);
        self.inner
            .hpke_setup_receiver_and_export(config, enc, sk_r, info, context, length)
    }
}

/// A kind of proposal that no phone makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Foreign {
    AddMember,
    RemoveHub,
    Psk,
    GroupExtensions,
    /// Signed with another key, which would be the phone's from then on.
    OtherSigner,
    /// A good update that says it stands elsewhere.
    OtherPlace,
    /// An update that says the phone can do something else than before.
    Capabilities,
    /// An update that puts something into the leaf.
    LeafExtension,
    /// An update to a key that is odd.
    Key(Odd),
}

impl Foreign {
    /// All of them, for a suite whose encryption keys have so many bytes.
    pub(crate) fn all(key_bytes: usize) -> Vec<Self> {
        let lengths = [1, key_bytes - 1, key_bytes + 1, 2 * key_bytes];
        let mut all = vec![
            Self::AddMember,
            Self::RemoveHub,
            Self::Psk,
            Self::GroupExtensions,
            Self::OtherSigner,
            Self::OtherPlace,
            Self::Capabilities,
            Self::LeafExtension,
            Self::Key(Odd::Invalid),
        ];
        all.extend(lengths.map(|bytes| Self::Key(Odd::Length(bytes))));
        all
    }

    /// Makes one, as MLS lets a member.
    pub(crate) fn make(
        self,
        group: &mut MlsGroup,
        provider: &MlsProvider<'_, '_>,
        crypto: Arc<CryptoProvider>,
        signer: &SignatureKeyPair,
    ) -> MlsMessageOut {
        let suite = group.ciphersuite();
        let other = SignatureKeyPair::new(suite.signature_algorithm()).unwrap();
        let update = |group: &mut MlsGroup, leaf: LeafNodeParameters| {
            group.propose_self_update(provider, signer, leaf).unwrap().0
        };
        let builder = LeafNodeParameters::builder();
        match self {
            Self::AddMember => {
                let named = CredentialWithKey {
                    credential: BasicCredential::new(b"a third one".to_vec()).into(),
                    signature_key: other.public().into(),
                };
                let capabilities = Capabilities::new(None, Some(&[suite]), None, None, None);
                let package = KeyPackage::builder()
                    .leaf_node_capabilities(capabilities)
                    .build(suite, provider, &other, named)
                    .unwrap();
                let package = package.key_package();
                group
                    .propose_add_member(provider, signer, package)
                    .unwrap()
                    .0
            }
            Self::RemoveHub => {
                let hub = LeafNodeIndex::new(0);
                assert_ne!(group.own_leaf_index(), hub);
                group
                    .propose_remove_member(provider, signer, hub)
                    .unwrap()
                    .0
            }
            Self::Psk => {
                let name = Psk::External(ExternalPsk::new(b"mine".to_vec()));
                let psk = PreSharedKeyId::new(suite, provider.rand(), name).unwrap();
                psk.store(provider, &[1; 32]).unwrap();
                group
                    .propose_pre_shared_key(provider, signer, psk)
                    .unwrap()
                    .0
            }
            Self::GroupExtensions => {
                group
                    .propose_group_context_extensions(provider, Extensions::empty(), signer)
                    .unwrap()
                    .0
            }
            Self::OtherSigner => {
                let own = group.own_leaf_node().unwrap().credential().clone();
                let credential_with_key = CredentialWithKey {
                    credential: own,
                    signature_key: other.public().into(),
                };
                let bundle = NewSignerBundle {
                    signer: &other,
                    credential_with_key,
                };
                let leaf = LeafNodeParameters::default();
                group
                    .propose_self_update_with_new_signer(provider, signer, bundle, leaf)
                    .unwrap()
                    .0
            }
            Self::OtherPlace => update(group, LeafNodeParameters::default()),
            Self::Capabilities => {
                let suites = [Suite::Classic.ciphersuite(), Suite::XWing.ciphersuite()];
                let all = Capabilities::new(None, Some(&suites), None, None, None);
                update(group, builder.with_capabilities(all).build())
            }
            Self::LeafExtension => {
                let id = Extension::ApplicationId(ApplicationIdExtension::new(b"me"));
                let extensions = Extensions::<LeafNode>::single(id).unwrap();
                update(group, builder.with_extensions(extensions).build())
            }
            Self::Key(odd) => {
                let provider = OddKeys::new(provider, crypto, odd, 0);
                let leaf = LeafNodeParameters::default();
                group
                    .propose_self_update(&provider, signer, leaf)
                    .unwrap()
                    .0
            }
        }
    }
}
