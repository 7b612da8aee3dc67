"""Pub/Sub v1: topics, subscriptions, snapshots, and messages until they are acknowledged.

`Broker` keeps what is stored and decides which message goes where; `Backlog` is the part of it that
belongs to one subscription. `TopicMethods` and `SubscriptionMethods` are what callers see, over gRPC
and REST. `PushDelivery` sends the messages of push subscriptions.
"""
