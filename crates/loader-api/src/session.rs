//! API client with a token that is credentialsed if credentials are available.

use crate::{Client, Error, Token};
use loader_model::Credentials;

/// Client with its token. If the server refuses the token, it logs in again with its
/// credentials, if it has any, at most once for each call: a long upload may need
/// several tokens.
#[derive(Debug)]
pub struct Session<'n> {
    client: Client<'n>,
    token: Token,
    credentials: Option<Credentials>,
}

impl<'n> Session<'n> {
    /// Creates a session with `token`. `credentials` are used if the server refuses it.
    pub fn new(client: Client<'n>, token: Token, credentials: Option<Credentials>) -> Self {
        Self { client, token, credentials }
    }

    /// Returns the current token.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Makes one call. If the server refuses the token, logs in and repeats the call once.
    ///
    /// # Errors
    /// Those of `call` and of [`Client::login`].
    pub fn call<T>(&mut self, mut call: impl FnMut(&Client<'n>, &Token) -> Result<T, Error>) -> Result<T, Error> {
        match call(&self.client, &self.token) {
            Err(refused @ (Error::Unauthorized(_) | Error::Clock(_))) => {
                let credentials = self.credentials.as_ref().ok_or(refused)?;
                let text = self.client.login(credentials)?;
                self.token = Token::parse(&text)
                    .map_err(|error| Error::Protocol { call: "login".to_owned(), response: error.to_string() })?;
                call(&self.client, &self.token)
            }
            other => other,
        }
    }
}
