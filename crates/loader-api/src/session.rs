//! A token in use, renewed where the credentials are at hand.

use crate::{Client, Error, Token};
use loader_model::Credentials;

/// A client with the token it works with. On a 401 it logs in again by itself, where
/// it holds credentials, once a call: an upload may outlive more than one token.
#[derive(Debug)]
pub struct Session<'n> {
    client: Client<'n>,
    token: Token,
    renew: Option<Credentials>,
}

impl<'n> Session<'n> {
    /// Works with `token`, and with `credentials` where it is refused.
    pub fn new(client: Client<'n>, token: Token, credentials: Option<Credentials>) -> Self {
        Self { client, token, renew: credentials }
    }

    /// The token in use.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Makes one call; where the server refuses the token, logs in and makes it
    /// once more.
    ///
    /// # Errors
    /// Those of `call` and of [`Client::login`].
    pub fn call<T>(&mut self, mut call: impl FnMut(&Client<'n>, &Token) -> Result<T, Error>) -> Result<T, Error> {
        match call(&self.client, &self.token) {
            Err(refused @ (Error::Unauthorized(_) | Error::Clock(_))) => {
                let credentials = self.renew.as_ref().ok_or(refused)?;
                let text = self.client.login(credentials)?;
                self.token = Token::parse(&text)
                    .map_err(|error| Error::Protocol { call: "login".to_owned(), seen: error.to_string() })?;
                call(&self.client, &self.token)
            }
            other => other,
        }
    }
}
