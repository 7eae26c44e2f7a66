//! Credentials of S3 from a profile of `~/.aws`: keys, `credential_process`, roles, SSO.

mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use futures::FutureExt as _;
use object_store::CredentialProvider;
use object_store::aws::{AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use tokio::sync::Mutex;

use super::settings::{PROFILE, Settings};

/// Credentials are renewed this long before they end.
const EARLY: Duration = Duration::from_secs(300);

/// A profile and the files that may hold it.
#[derive(Debug)]
pub(super) struct Profile {
    /// The default one, if none is named.
    name: Option<String>,
    files: EnvConfigFiles,
}

impl Profile {
    /// The one to use, where neither the environment nor options give credentials and there is a file of
    /// profiles, or one is named.
    pub(super) fn of(settings: &Settings<AmazonS3ConfigKey>) -> Option<Self> {
        let name = settings.named(PROFILE[0]).map(str::to_owned);
        let config = file(settings.named(PROFILE[1]), "config");
        let credentials = file(settings.named(PROFILE[2]), "credentials");
        if has_credentials(settings) || name.is_none() && config.is_none() && credentials.is_none()
        {
            return None;
        }
        let mut files = EnvConfigFiles::builder();
        if let Some(path) = config {
            files = files.with_file(EnvConfigFileKind::Config, path);
        }
        if let Some(path) = credentials {
            files = files.with_file(EnvConfigFileKind::Credentials, path);
        }
        let files = files.build();
        Some(Self { name, files })
    }

    /// The region that it names.
    pub(super) fn region(&self) -> Option<String> {
        let mut region = ProfileFileRegionProvider::builder().profile_files(self.files.clone());
        if let Some(name) = &self.name {
            region = region.profile_name(name);
        }
        // It only reads files, without waiting.
        let region = region.build().region().now_or_never()??;
        Some(region.to_string())
    }

    /// Credentials of the profile; those of `otherwise` if the default profile has none.
    pub(super) fn credentials(self, otherwise: AwsCredentialProvider) -> AwsCredentialProvider {
        let region = self.region().map(aws_config::Region::new);
        let config = ProviderConfig::default()
            .with_region(region)
            .with_http_client(wire::Client::default());
        let mut provider = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_files(self.files);
        if let Some(name) = &self.name {
            provider = provider.profile_name(name);
        }
        Arc::new(ProfileCredentials {
            name: self.name,
            provider: provider.build(),
            otherwise,
            held: Mutex::default(),
        })
    }
}

/// Whether there are credentials, or none are wanted, without a profile.
fn has_credentials(settings: &Settings<AmazonS3ConfigKey>) -> bool {
    use AmazonS3ConfigKey as Key;
    let has = |key| settings.get(&key).is_some();
    let skips = settings.get(&Key::SkipSignature);
    has(Key::AccessKeyId)
        || has(Key::SecretAccessKey)
        || has(Key::WebIdentityTokenFile) && has(Key::RoleArn)
        || has(Key::ContainerCredentialsRelativeUri)
        || has(Key::ContainerCredentialsFullUri)
        || skips.is_some_and(|text| {
            ["1", "true", "on", "yes", "y"].contains(&text.to_ascii_lowercase().as_str())
        })
}

/// A file of profiles, if it is there.
fn file(named: Option<&str>, usual: &str) -> Option<PathBuf> {
    let home = || {
        Some(
            Path::new(&std::env::var_os("HOME")?)
                .join(".aws")
                .join(usual),
        )
    };
    let path = named.map(PathBuf::from).or_else(home)?;
    path.is_file().then_some(path)
}

/// What a profile gives, kept as long as it is good.
#[derive(Debug)]
struct ProfileCredentials {
    name: Option<String>,
    provider: ProfileFileCredentialsProvider,
    otherwise: AwsCredentialProvider,
    held: Mutex<Option<(Arc<AwsCredential>, Option<SystemTime>)>>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the profile {name} of ~/.aws gives no credentials; if it is one of single sign-on, run \
     `aws sso login --profile {name}`"
)]
struct NoProfile {
    name: String,
    source: CredentialsError,
}

#[async_trait]
impl CredentialProvider for ProfileCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        if let Some((credential, end)) = held.as_ref()
            && end.is_none_or(|end| end > SystemTime::now() + EARLY)
        {
            return Ok(Arc::clone(credential));
        }
        let found = match self.provider.provide_credentials().await {
            Ok(found) => found,
            Err(CredentialsError::CredentialsNotLoaded(_)) if self.name.is_none() => {
                return self.otherwise.get_credential().await;
            }
            Err(source) => {
                let name = self.name.clone().unwrap_or_else(|| "default".into());
                return Err(object_store::Error::Generic {
                    store: "S3",
                    source: Box::new(NoProfile { name, source }),
                });
            }
        };
        let credential = Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        });
        *held = Some((Arc::clone(&credential), found.expiry()));
        Ok(credential)
    }
}
