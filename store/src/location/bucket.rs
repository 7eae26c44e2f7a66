//! The clients of buckets and web servers.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::multipart::MultipartStore;
use object_store::{ClientConfigKey, ObjectStore, ObjectStoreScheme, Result, RetryConfig};
use url::Url;

use super::address::Address;
use super::client::Connector;
use super::odd_keys::OddKeys;
use super::profile;
use super::settings::{self, Settings};

const AMAZON_WAYS: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile of \
     ~/.aws, in the environment or as storage options (aws_access_key_id=...); a public bucket takes \
     aws_skip_signature=true, one whose readers pay takes credentials and aws_request_payer=true";
const GOOGLE_WAYS: &str = "set GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS to a file of \
     credentials, in the environment or as a storage option (google_service_account=...), or run \
     `gcloud auth application-default login`; a public bucket takes google_skip_signature=true";
const AZURE_WAYS: &str = "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, \
     AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID, in the environment \
     or as storage options (azure_storage_account_key=...), or azure_use_azure_cli=true; a public container \
     takes azure_skip_signature=true";

/// The service that gives credentials to a machine of Amazon's, Microsoft's, or, by this address, Google's.
const METADATA: &str = "http://169.254.169.254";

/// The store's client makes each request once; [`Patience`](super::patience::Patience) makes it again.
fn once() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// The client of a store on a network.
pub(super) struct Client {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The store again, where it takes objects in parts.
    pub(super) parts: Option<Arc<dyn MultipartStore>>,
}

impl Client {
    fn bucket(store: impl ObjectStore + MultipartStore) -> Self {
        let store = Arc::new(store);
        Self {
            parts: Some(Arc::clone(&store) as _),
            store,
        }
    }

    pub(super) fn without_parts(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, parts: None }
    }
}

/// The client of a bucket or a web server.
pub(super) fn open(
    address: &Address,
    options: &[(String, String)],
    odd: &Arc<OddKeys>,
) -> Result<Client> {
    settings::all_known(options)?;
    let root = address.root.as_str();
    let url = Url::parse(root).map_err(not_supported)?;
    match ObjectStoreScheme::parse(&url)?.0 {
        ObjectStoreScheme::AmazonS3 => amazon(root, options, odd),
        ObjectStoreScheme::GoogleCloudStorage => google(root, options, odd),
        ObjectStoreScheme::MicrosoftAzure => azure(root, options, odd),
        ObjectStoreScheme::Http => web(root, options, odd),
        other => Err(not_supported(format!(
            "{other:?} is not a place on a network"
        ))),
    }
}

fn not_supported(
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> object_store::Error {
    object_store::Error::NotSupported {
        source: source.into(),
    }
}

/// A builder with its settings. A server without encryption that was named is meant.
macro_rules! configured {
    ($builder:expr, $key:ident, $settings:expr, $plain:expr, $root:expr, $connector:expr) => {{
        let allow_http = $key::Client(ClientConfigKey::AllowHttp);
        let builder = $builder.with_config(allow_http, $plain.to_string());
        $settings
            .into_iter()
            .fold(builder, |builder, (key, value)| {
                builder.with_config(key, value)
            })
            .with_url($root)
            .with_retry(once())
            .with_http_connector($connector)
    }};
}

fn amazon(root: &str, options: &[(String, String)], odd: &Arc<OddKeys>) -> Result<Client> {
    use AmazonS3ConfigKey as Key;
    let mut settings = Settings::read("AWS_", options);
    let profile = profile::Profile::of(&settings);
    if let Some(region) = profile.as_ref().and_then(profile::Profile::region) {
        settings.set_default(&[Key::Region, Key::DefaultRegion], Key::Region, region);
    }
    let endpoint = settings
        .get(&Key::S3Endpoint)
        .or(settings.get(&Key::Endpoint));
    let plain = endpoint.is_some_and(is_plain);
    let metadata = settings.get(&Key::MetadataEndpoint);
    let authority = authority(metadata.unwrap_or(METADATA));
    let connector = Connector::new(odd, vec![authority], AMAZON_WAYS);
    let builder = AmazonS3Builder::from_env();
    let builder = configured!(builder, Key, settings, plain, root, connector);
    let Some(profile) = profile else {
        return Ok(Client::bucket(builder.build()?));
    };
    // What it would take without a profile.
    let otherwise = Arc::clone(builder.clone().build()?.credentials());
    let credentials = profile.credentials(otherwise);
    Ok(Client::bucket(
        builder.with_credentials(credentials).build()?,
    ))
}

fn google(root: &str, options: &[(String, String)], odd: &Arc<OddKeys>) -> Result<Client> {
    use GoogleConfigKey as Key;
    let settings = Settings::read("GOOGLE_", options);
    // A key may name its own server, which only the emulators' do.
    let of_key = settings.get(&Key::ServiceAccountKey);
    let plain = settings.get(&Key::BaseUrl).is_some_and(is_plain)
        || of_key.is_some_and(|key| key.contains(r#""gcs_base_url":"http://"#));
    let mut authorities = vec!["metadata.google.internal".into(), authority(METADATA)];
    // As the client looks for the service.
    let named = ["GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"];
    authorities.extend(named.iter().filter_map(|name| std::env::var(name).ok()));
    let connector = Connector::new(odd, authorities, GOOGLE_WAYS);
    let builder = GoogleCloudStorageBuilder::from_env();
    let builder = configured!(builder, Key, settings, plain, root, connector);
    Ok(Client::bucket(builder.build()?))
}

fn azure(root: &str, options: &[(String, String)], odd: &Arc<OddKeys>) -> Result<Client> {
    use AzureConfigKey as Key;
    let settings = Settings::read("AZURE_", options);
    let plain = settings.get(&Key::Endpoint).is_some_and(is_plain);
    let metadata = settings.get(&Key::MsiEndpoint);
    let authority = authority(metadata.unwrap_or(METADATA));
    let connector = Connector::new(odd, vec![authority], AZURE_WAYS);
    let builder = MicrosoftAzureBuilder::from_env();
    let builder = configured!(builder, Key, settings, plain, root, connector);
    Ok(Client::bucket(builder.build()?))
}

fn web(root: &str, options: &[(String, String)], odd: &Arc<OddKeys>) -> Result<Client> {
    // Who writes http:// means it.
    let builder =
        HttpBuilder::new().with_config(ClientConfigKey::AllowHttp, is_plain(root).to_string());
    let builder = Settings::typed(options)
        .into_iter()
        .fold(builder, |builder, (key, value)| {
            builder.with_config(key, value)
        });
    let connector = Connector::new(odd, Vec::new(), "");
    let builder = builder.with_url(root).with_retry(once());
    let store = builder.with_http_connector(connector).build()?;
    Ok(Client::without_parts(Arc::new(store)))
}

/// Whether a server is named that speaks HTTP without encryption: who typed that means it.
fn is_plain(endpoint: &str) -> bool {
    let scheme = endpoint.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"))
}

/// Host and port of a URL.
fn authority(url: &str) -> String {
    let url = Url::parse(url).ok();
    url.map_or_else(String::new, |url| url.authority().to_owned())
}
