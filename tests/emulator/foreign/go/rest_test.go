package clients

import (
	"testing"

	artifactregistry "cloud.google.com/go/artifactregistry/apiv1"
	"cloud.google.com/go/artifactregistry/apiv1/artifactregistrypb"
	budgets "cloud.google.com/go/billing/budgets/apiv1"
	"cloud.google.com/go/billing/budgets/apiv1/budgetspb"
	credentials "cloud.google.com/go/iam/credentials/apiv1"
	"cloud.google.com/go/iam/credentials/apiv1/credentialspb"
	logging "cloud.google.com/go/logging/apiv2"
	"cloud.google.com/go/logging/apiv2/loggingpb"
	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	serviceusage "cloud.google.com/go/serviceusage/apiv1"
	"cloud.google.com/go/serviceusage/apiv1/serviceusagepb"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/grpc/codes"
)

// TestRestClients asks the variants for HTTP of clients whose other tests use gRPC.
func TestRestClients(t *testing.T) {
	registry := get(artifactregistry.NewRESTClient(ctx))(t)
	refused(t, failed(registry.GetRepository(ctx, &artifactregistrypb.GetRepositoryRequest{Name: place + "/repositories/none"})), codes.NotFound, "")
	billing := get(budgets.NewBudgetRESTClient(ctx, as(t, "deployer")))(t)
	refused(t, failed(billing.GetBudget(ctx, &budgetspb.GetBudgetRequest{Name: "billingAccounts/01AB23-456789-CDEF01/budgets/none"})), codes.NotFound, "")
	signer := get(credentials.NewIamCredentialsRESTClient(ctx))(t)
	token := get(signer.GenerateIdToken(ctx, &credentialspb.GenerateIdTokenRequest{
		Name: "projects/-/serviceAccounts/" + email("guest"), Audience: "mine",
	}))(t)
	equal(t, token.Token != "", true)
	usage := get(serviceusage.NewRESTClient(ctx))(t)
	service := get(usage.GetService(ctx, &serviceusagepb.GetServiceRequest{Name: parent + "/services/run.googleapis.com"}))(t)
	equal(t, service.State, serviceusagepb.State_ENABLED)
	revisions, tasks := get(run.NewRevisionsRESTClient(ctx))(t), get(run.NewTasksRESTClient(ctx))(t)
	refused(t, failed(revisions.GetRevision(ctx, &runpb.GetRevisionRequest{Name: place + "/services/a/revisions/b"})), codes.NotFound, "does not exist")
	refused(t, failed(tasks.GetTask(ctx, &runpb.GetTaskRequest{Name: place + "/jobs/a/executions/b/tasks/c"})), codes.NotFound, "does not exist")
}

func TestRestClientsOfLogging(t *testing.T) {
	entries, config := get(logging.NewRESTClient(ctx))(t), get(logging.NewConfigRESTClient(ctx))(t)
	metrics := get(logging.NewMetricsRESTClient(ctx))(t)
	name := parent + "/logs/" + fresh("go")
	written := &loggingpb.WriteLogEntriesRequest{LogName: name, Resource: &monitoredres.MonitoredResource{Type: "global"}, Entries: []*loggingpb.LogEntry{{
		Payload: &loggingpb.LogEntry_TextPayload{TextPayload: "by HTTP"},
	}}}
	get(entries.WriteLogEntries(ctx, written))(t)
	found := all(t, entries.ListLogEntries(ctx, &loggingpb.ListLogEntriesRequest{
		ResourceNames: []string{parent}, Filter: `logName="` + name + `"`,
	}).Next)
	equal(t, found[0].GetTextPayload(), "by HTTP")
	sinks := all(t, config.ListSinks(ctx, &loggingpb.ListSinksRequest{Parent: parent}).Next)
	contains(t, names(sinks, (*loggingpb.LogSink).GetName), "_Default", "_Required")
	refused(t, failed(metrics.GetLogMetric(ctx, &loggingpb.GetLogMetricRequest{MetricName: parent + "/metrics/none"})), codes.NotFound, "")
}

func TestRestClientsOfPubsub(t *testing.T) {
	topic := newTopic(t, nil)
	subscription := newSubscription(t, topic, nil)
	topics, subscriptions := get(pubsub.NewTopicAdminRESTClient(ctx))(t), get(pubsub.NewSubscriptionAdminRESTClient(ctx))(t)
	schemas := get(pubsub.NewSchemaRESTClient(ctx))(t)
	equal(t, get(topics.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: topic}))(t).Name, topic)
	get(topics.Publish(ctx, &pubsubpb.PublishRequest{Topic: topic, Messages: []*pubsubpb.PubsubMessage{{Data: []byte("by HTTP")}}}))(t)
	until(t, func() bool {
		answer := get(subscriptions.Pull(ctx, &pubsubpb.PullRequest{Subscription: subscription, MaxMessages: 1}))(t)
		for _, each := range answer.ReceivedMessages {
			equal(t, string(each.Message.Data), "by HTTP")
			ok(t, subscriptions.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: subscription, AckIds: []string{each.AckId}}))
		}
		return len(answer.ReceivedMessages) > 0
	})
	refused(t, failed(topics.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: topic + "-none"})), codes.NotFound, "Resource not found")
	refused(t, failed(schemas.GetSchema(ctx, &pubsubpb.GetSchemaRequest{Name: parent + "/schemas/none"})), codes.NotFound, "")
}
