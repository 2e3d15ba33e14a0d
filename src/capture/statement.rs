//! A statement that is run again and again on one connection.

use tokio_postgres::{
    Client, Row, RowStream, Statement as Prepared,
    types::{ToSql, Type},
};

/// Prepared once, so that Postgres plans it once; sent whole each time behind a pooler, where the next run may be on another
/// connection of the server, which doesn't know it.
pub struct Statement {
    sql: String,
    types: Vec<Type>,
    prepared: Option<Prepared>,
}

/// As many parameters as the statement has types, in their order.
pub type Parameters<'a> = Vec<&'a (dyn ToSql + Sync)>;

impl Statement {
    /// `pooled`: a pooler stands between.
    pub async fn new(
        client: &Client,
        pooled: bool,
        sql: impl Into<String>,
        types: &[Type],
    ) -> Result<Self, tokio_postgres::Error> {
        let (sql, types) = (sql.into(), types.to_vec());
        let prepared = if pooled { None } else { Some(client.prepare_typed(&sql, &types).await?) };
        Ok(Self { sql, types, prepared })
    }

    /// The rows as they arrive.
    pub async fn stream(
        &self,
        client: &Client,
        parameters: Parameters<'_>,
    ) -> Result<RowStream, tokio_postgres::Error> {
        match &self.prepared {
            Some(prepared) => client.query_raw(prepared, parameters).await,
            None => client.query_typed_raw(&self.sql, parameters.into_iter().zip(self.types.iter().cloned())).await,
        }
    }

    /// All rows.
    pub async fn query(&self, client: &Client, parameters: Parameters<'_>) -> Result<Vec<Row>, tokio_postgres::Error> {
        match &self.prepared {
            Some(prepared) => client.query(prepared, &parameters).await,
            None => client.query_typed(&self.sql, &self.typed(parameters)).await,
        }
    }

    /// How many rows it changed.
    pub async fn execute(&self, client: &Client, parameters: Parameters<'_>) -> Result<u64, tokio_postgres::Error> {
        match &self.prepared {
            Some(prepared) => client.execute(prepared, &parameters).await,
            None => client.execute_typed(&self.sql, &self.typed(parameters)).await,
        }
    }

    fn typed<'a>(&self, parameters: Parameters<'a>) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
        parameters.into_iter().zip(self.types.iter().cloned()).collect()
    }
}
