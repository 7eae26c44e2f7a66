//! The clients of buckets and web servers.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::{Position, Url};

/// A failing request is tried again by the store's client for about ten seconds.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
        max_retries: 6,
        retry_timeout: Duration::from_secs(60),
    }
}

/// The client of a bucket or a web server, and the path in it. Settings of the environment that are
/// not for this kind of store are passed over, those of `options` refused.
pub(super) fn open(
    url: &Url,
    options: &[(String, String)],
) -> object_store::Result<(Arc<dyn ObjectStore>, Path)> {
    macro_rules! client {
        ($builder:expr, $url:expr) => {{
            let mut builder = $builder.with_url($url).with_retry(retry());
            for (key, value) in std::env::vars() {
                if let Ok(key) = key.to_ascii_lowercase().parse() {
                    builder = builder.with_config(key, value);
                }
            }
            for (key, value) in options {
                builder = builder.with_config(key.to_ascii_lowercase().parse()?, value);
            }
            Arc::new(builder.build()?)
        }};
    }
    let (scheme, path) = ObjectStoreScheme::parse(url)?;
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => client!(AmazonS3Builder::new(), url.as_str()),
        ObjectStoreScheme::GoogleCloudStorage => {
            client!(GoogleCloudStorageBuilder::new(), url.as_str())
        }
        ObjectStoreScheme::MicrosoftAzure => client!(MicrosoftAzureBuilder::new(), url.as_str()),
        ObjectStoreScheme::Http => {
            // Who writes http:// means it.
            let plain = ClientOptions::new().with_allow_http(url.scheme() == "http");
            let builder = HttpBuilder::new().with_client_options(plain);
            client!(builder, &url[..Position::BeforePath])
        }
        other => {
            return Err(object_store::Error::NotSupported {
                source: format!("{other:?} is no place on a network").into(),
            });
        }
    };
    Ok((store, Path::parse(path)?))
}
