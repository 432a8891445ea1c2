#include "notify/schema.h"

namespace fettle::notify {
namespace {

db::Migration first() {
  return {
      .room = "notify",
      .version = 1,
      .name = "webhook subscriptions, deliveries and their attempts",
      .statements =
          {
              // event_types and clients are JSON lists; secrets are sealed (secret_box.h).
              "CREATE TABLE webhook_subscriptions (workspace TEXT NOT NULL, id TEXT NOT NULL, url TEXT NOT NULL, "
              "description TEXT NOT NULL, event_types TEXT NOT NULL, clients TEXT NOT NULL, secret BYTEA NOT NULL, "
              "prior_secret BYTEA, prior_secret_until BIGINT, enabled BIGINT NOT NULL, disabled_reason TEXT NOT NULL, "
              "disabled_at BIGINT, created_by TEXT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, "
              "dropped BIGINT NOT NULL, PRIMARY KEY (workspace, id))",
              "CREATE INDEX webhook_subscriptions_enabled ON webhook_subscriptions (workspace, id) WHERE enabled = 1",
              // state: 1 pending, 2 delivered, 3 dead. The body is bytes: what is signed is what was stored.
              "CREATE TABLE webhook_deliveries (workspace TEXT NOT NULL, id TEXT NOT NULL, subscription_id TEXT NOT "
              "NULL, event_id TEXT NOT NULL, event_type TEXT NOT NULL, body BYTEA NOT NULL, state BIGINT NOT NULL, "
              "reason TEXT NOT NULL, attempts BIGINT NOT NULL, created_at BIGINT NOT NULL, next_at BIGINT NOT NULL, "
              "give_up_at BIGINT NOT NULL, finished_at BIGINT, last_status BIGINT, last_latency_ms BIGINT, last_error "
              "TEXT NOT NULL, last_excerpt TEXT NOT NULL, PRIMARY KEY (workspace, id))",
              "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (workspace, subscription_id, next_at, id) "
              "WHERE state = 1",
              "CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (workspace, subscription_id, created_at, "
              "id)",
              "CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE finished_at IS NOT "
              "NULL",
              // Subscriptions that are gone and whose deliveries are still to go.
              "CREATE TABLE webhook_leftovers (workspace TEXT NOT NULL, subscription_id TEXT NOT NULL, PRIMARY KEY "
              "(workspace, subscription_id))",
              "CREATE TABLE webhook_attempts (workspace TEXT NOT NULL, delivery_id TEXT NOT NULL, number BIGINT NOT "
              "NULL, at BIGINT NOT NULL, status BIGINT, latency_ms BIGINT NOT NULL, error TEXT NOT NULL, excerpt TEXT "
              "NOT NULL, PRIMARY KEY (workspace, delivery_id, number))",
          },
  };
}

}  // namespace

const db::Migrations& migrations() {
  static const db::Migrations list = {first()};
  return list;
}

}  // namespace fettle::notify
