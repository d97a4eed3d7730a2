//! OAuth: who this client is to a server, kept in files that nobody else may read.

use std::future::Future;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use rmcp::transport::auth::{
    AuthClient, AuthError, AuthorizationManager, AuthorizationRequest, CredentialStore,
    OAuthClientConfig, OAuthState, StoredCredentials,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::ServerConfig;
use super::config::secret_value;

/// How long a person has to log in.
const LOGIN: Duration = Duration::from_secs(600);

/// What a browser is told in the end.
const DONE: &str = "Logged in. This page can be closed.";

/// The keys to servers, a file each.
#[derive(Clone, Debug)]
pub struct Keys {
    folder: PathBuf,
}

/// Why a login has not come about. It holds no token.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LoginError {
    message: String,
}

impl LoginError {
    pub(super) fn new(message: impl std::fmt::Display) -> LoginError {
        LoginError {
            message: message.to_string(),
        }
    }
}

impl From<AuthError> for LoginError {
    fn from(error: AuthError) -> LoginError {
        LoginError::new(error)
    }
}

impl Keys {
    /// Those in `folder`, which need not exist.
    pub fn at(folder: &Path) -> Keys {
        Keys {
            folder: folder.to_owned(),
        }
    }

    /// The file of a server: another address has another file, so that no key goes elsewhere.
    fn file(&self, server: &str, url: &str) -> KeyFile {
        let hash = blake3::hash(url.as_bytes()).to_hex();
        let name = format!("{server}-{}.json", &hash[..12]);
        KeyFile(self.folder.join(name))
    }

    /// Whether there is one for a server.
    pub fn has(&self, server: &str, url: &str) -> bool {
        self.file(server, url).0.exists()
    }

    /// Takes a server's away.
    ///
    /// # Errors
    /// What the file system says.
    pub fn forget(&self, server: &str, url: &str) -> std::io::Result<()> {
        match std::fs::remove_file(self.file(server, url).0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The tokens in a server's file, to be kept out of a journal.
    pub fn tokens(&self, server: &str, url: &str) -> Vec<String> {
        let read = self.file(server, url).read().ok().flatten();
        let response = read.and_then(|stored| serde_json::to_value(stored.token_response).ok());
        let tokens = ["access_token", "refresh_token"];
        let found = tokens.map(|name| Some(response.as_ref()?[name].as_str()?.to_owned()));
        found.into_iter().flatten().collect()
    }

    /// A client that shows the key of a server; `None` where there is none.
    pub(super) async fn client(
        &self,
        server: &str,
        config: &ServerConfig,
        url: &str,
    ) -> Result<Option<AuthClient<reqwest::Client>>, LoginError> {
        if config.token.is_some() || !self.has(server, url) {
            return Ok(None);
        }
        let mut manager = AuthorizationManager::new(url).await?;
        manager.set_credential_store(self.file(server, url));
        if !manager.initialize_from_store().await? {
            return Ok(None);
        }
        if let (Some(id), Some(variable)) = (&config.login.client_id, &config.login.client_secret) {
            let secret = secret_value(variable, server).map_err(LoginError::new)?;
            let own = OAuthClientConfig::new(id, "http://127.0.0.1/callback");
            manager.configure_client(own.with_client_secret(secret))?;
        }
        let client = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client = client.map_err(LoginError::new)?;
        Ok(Some(AuthClient::new(client, manager)))
    }

    /// Logs in: `open` is given the address that a browser has to open, and what the browser brings back is waited
    /// for. `challenge` is what the server said when it refused, `scopes` what is asked for in any case.
    ///
    /// # Errors
    /// [`LoginError`], without any token in it.
    pub async fn login(
        &self,
        server: &str,
        config: &ServerConfig,
        asked: (Option<String>, Vec<String>),
        open: impl FnOnce(&str),
    ) -> Result<(), LoginError> {
        let Some(url) = &config.url else {
            return Err(LoginError::new(format!(
                "{server} is a program: it wants no login"
            )));
        };
        let login = &config.login;
        let listener = TcpListener::bind(("127.0.0.1", login.port)).await;
        let listener = listener
            .map_err(|error| LoginError::new(format!("cannot listen for the browser: {error}")))?;
        let address = listener.local_addr().map_err(LoginError::new)?;
        let mut request = AuthorizationRequest::new(format!("http://{address}/callback"))
            .with_client_name("Plumb")
            .with_scopes(if asked.1.is_empty() {
                login.scopes.clone()
            } else {
                asked.1
            });
        if let Some(stored) = self
            .file(server, url)
            .read()?
            .filter(|_| !request.scopes.is_empty())
        {
            // What was granted before is asked for again: a new key takes the old one's place.
            let more = stored.granted_scopes.into_iter();
            let more: Vec<String> = more
                .filter(|scope| !request.scopes.contains(scope))
                .collect();
            request.scopes.extend(more);
        }
        request.challenge = asked.0;
        request.client_id.clone_from(&login.client_id);
        request
            .client_metadata_url
            .clone_from(&login.client_metadata_url);
        if let Some(variable) = &login.client_secret {
            request.client_secret = Some(secret_value(variable, server).map_err(LoginError::new)?);
        }
        let mut state = OAuthState::new(url.as_str(), None).await?;
        if let OAuthState::Unauthorized(manager) = &mut state {
            manager.set_credential_store(self.file(server, url));
        }
        state.start_authorization(request).await?;
        open(&state.get_authorization_url().await?);
        let path = tokio::time::timeout(LOGIN, callback(&listener)).await;
        let path =
            path.map_err(|_| LoginError::new("nobody has logged in within 10 minutes"))??;
        state
            .handle_callback_url(&format!("http://{address}{path}"))
            .await?;
        Ok(())
    }
}

/// Waits for the browser to come back; gives the path with what it brings.
async fn callback(listener: &TcpListener) -> Result<String, LoginError> {
    loop {
        let (mut socket, _) = listener.accept().await.map_err(LoginError::new)?;
        let mut read = Vec::new();
        let mut buffer = [0; 1024];
        while read.len() < 16_384 && !read.windows(4).any(|end| end == b"\r\n\r\n") {
            match socket.read(&mut buffer).await {
                Ok(count @ 1..) => read.extend(buffer.iter().take(count)),
                _ => break,
            }
        }
        let text = String::from_utf8_lossy(&read);
        let path = text.lines().next().and_then(|line| line.split(' ').nth(1));
        let found = path.filter(|path| path.starts_with("/callback?"));
        let (status, said) = match found {
            Some(_) => ("200 OK", DONE),
            None => ("404 Not Found", "There is nothing here."),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}",
            said.len()
        );
        // A browser that has gone has brought what was wanted.
        let _ = socket.write_all(answer.as_bytes()).await;
        let _ = socket.shutdown().await;
        if let Some(path) = found {
            return Ok(path.to_owned());
        }
    }
}

/// The key of one server.
struct KeyFile(PathBuf);

impl KeyFile {
    fn read(&self) -> Result<Option<StoredCredentials>, AuthError> {
        let wrong = |error: String| AuthError::CredentialStoreError(error);
        match std::fs::read_to_string(&self.0) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|_| wrong(format!("{} is not a key", self.0.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    fn write(&self, stored: &StoredCredentials) -> std::io::Result<()> {
        use std::io::Write as _;
        if let Some(folder) = self.0.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let new = self.0.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(stored)?)?;
        std::fs::rename(&new, &self.0)
    }
}

type Done<'a, T> = Pin<Box<dyn Future<Output = Result<T, AuthError>> + Send + 'a>>;

impl CredentialStore for KeyFile {
    fn load<'a, 'b>(&'a self) -> Done<'b, Option<StoredCredentials>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async { self.read() })
    }

    fn save<'a, 'b>(&'a self, stored: StoredCredentials) -> Done<'b, ()>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            self.write(&stored)
                .map_err(|error| AuthError::CredentialStoreError(error.to_string()))
        })
    }

    fn clear<'a, 'b>(&'a self) -> Done<'b, ()>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async {
            // What is not there is cleared.
            let _ = std::fs::remove_file(&self.0);
            Ok(())
        })
    }
}
