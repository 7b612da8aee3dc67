package clients

import (
	"hash/crc32"
	"testing"
	"time"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

type secrets struct {
	*secretmanager.Client
	t *testing.T
}

func (s secrets) create(id string) *secretmanagerpb.Secret {
	s.t.Helper()
	automatic := &secretmanagerpb.Replication_Automatic_{Automatic: &secretmanagerpb.Replication_Automatic{}}
	return get(s.CreateSecret(ctx, &secretmanagerpb.CreateSecretRequest{
		Parent: parent, SecretId: id, Secret: &secretmanagerpb.Secret{
			Replication: &secretmanagerpb.Replication{Replication: automatic},
			Labels:      map[string]string{"team": "a"},
		},
	}))(s.t)
}

func (s secrets) add(secret, data string) *secretmanagerpb.SecretVersion {
	s.t.Helper()
	sum := int64(crc32.Checksum([]byte(data), crc32.MakeTable(crc32.Castagnoli)))
	return get(s.AddSecretVersion(ctx, &secretmanagerpb.AddSecretVersionRequest{
		Parent: secret, Payload: &secretmanagerpb.SecretPayload{Data: []byte(data), DataCrc32C: &sum},
	}))(s.t)
}

func (s secrets) value(version string) (string, error) {
	found, err := s.AccessSecretVersion(ctx, &secretmanagerpb.AccessSecretVersionRequest{Name: version})
	return string(found.GetPayload().GetData()), err
}

func eachSecretClient(t *testing.T, check func(*testing.T, secrets)) {
	t.Run("grpc", func(t *testing.T) {
		check(t, secrets{get(secretmanager.NewClient(ctx))(t), t})
	})
	t.Run("rest", func(t *testing.T) {
		check(t, secrets{get(secretmanager.NewRESTClient(ctx))(t), t})
	})
}

func TestSecretManagerVersions(t *testing.T) {
	eachSecretClient(t, func(t *testing.T, client secrets) {
		secret := client.create(fresh("go"))
		latest := secret.Name + "/versions/latest"
		refused(t, failed(client.value(latest)), codes.NotFound, "not found or has no versions")
		first, second := client.add(secret.Name, "one"), client.add(secret.Name, "two")
		equal(t, []string{first.Name, second.Name}, []string{
			secret.Name + "/versions/1", secret.Name + "/versions/2",
		})
		equal(t, get(client.value(latest))(t), "two")
		equal(t, get(client.value(first.Name))(t), "one")

		wrong := int64(1)
		refused(t, failed(client.AddSecretVersion(ctx, &secretmanagerpb.AddSecretVersionRequest{
			Parent: secret.Name, Payload: &secretmanagerpb.SecretPayload{Data: []byte("x"), DataCrc32C: &wrong},
		})), codes.InvalidArgument, "data_crc32c does not match")

		disabled := get(client.DisableSecretVersion(ctx, &secretmanagerpb.DisableSecretVersionRequest{Name: second.Name}))(t)
		equal(t, disabled.State, secretmanagerpb.SecretVersion_DISABLED)
		refused(t, failed(client.value(latest)), codes.FailedPrecondition, "is in DISABLED state")
		refused(t, failed(client.EnableSecretVersion(ctx, &secretmanagerpb.EnableSecretVersionRequest{
			Name: second.Name, Etag: second.Etag,
		})), codes.FailedPrecondition, "etag")
		enabled := get(client.EnableSecretVersion(ctx, &secretmanagerpb.EnableSecretVersionRequest{
			Name: second.Name, Etag: disabled.Etag,
		}))(t)
		equal(t, enabled.State, secretmanagerpb.SecretVersion_ENABLED)
		destroyed := get(client.DestroySecretVersion(ctx, &secretmanagerpb.DestroySecretVersionRequest{Name: first.Name}))(t)
		equal(t, destroyed.State, secretmanagerpb.SecretVersion_DESTROYED)
		refused(t, failed(client.value(first.Name)), codes.FailedPrecondition, "DESTROYED")
		found := get(client.GetSecretVersion(ctx, &secretmanagerpb.GetSecretVersionRequest{Name: first.Name}))(t)
		equal(t, found, destroyed)

		versions := client.ListSecretVersions(ctx, &secretmanagerpb.ListSecretVersionsRequest{
			Parent: secret.Name, PageSize: 1,
		})
		equal(t, names(all(t, versions.Next), (*secretmanagerpb.SecretVersion).GetName),
			[]string{second.Name, first.Name})
		ok(t, client.DeleteSecret(ctx, &secretmanagerpb.DeleteSecretRequest{Name: secret.Name}))
		_, err := client.GetSecret(ctx, &secretmanagerpb.GetSecretRequest{Name: secret.Name})
		refused(t, err, codes.NotFound, "Secret ["+secret.Name+"] not found")
	})
}

func TestSecretManagerSecrets(t *testing.T) {
	eachSecretClient(t, func(t *testing.T, client secrets) {
		secret := client.create(fresh("go"))
		client.add(secret.Name, "one")
		update := &secretmanagerpb.UpdateSecretRequest{
			Secret: &secretmanagerpb.Secret{
				Name: secret.Name, Etag: secret.Etag, VersionAliases: map[string]int64{"live": 1},
				Labels: map[string]string{"team": "b"},
			},
			UpdateMask: mask("version_aliases"),
		}
		changed := get(client.UpdateSecret(ctx, update))(t)
		equal(t, changed.Labels, map[string]string{"team": "a"})
		equal(t, get(client.value(secret.Name+"/versions/live"))(t), "one")
		refused(t, failed(client.UpdateSecret(ctx, update)), codes.FailedPrecondition, "etag")
		equal(t, get(client.GetSecret(ctx, &secretmanagerpb.GetSecretRequest{Name: secret.Name}))(t), changed)
		listed := client.ListSecrets(ctx, &secretmanagerpb.ListSecretsRequest{Parent: parent, PageSize: 1})
		contains(t, names(all(t, listed.Next), (*secretmanagerpb.Secret).GetName), secret.Name)
		_, err := client.CreateSecret(ctx, &secretmanagerpb.CreateSecretRequest{
			Parent: parent, SecretId: "no good!", Secret: &secretmanagerpb.Secret{},
		})
		refused(t, err, codes.InvalidArgument, "")
		checkPolicy(t, client, secret.Name, "roles/secretmanager.viewer", "secretmanager.versions.access")
		ok(t, client.DeleteSecret(ctx, &secretmanagerpb.DeleteSecretRequest{Name: secret.Name}))
	})
}

func TestSecretManagerRightsOnOneSecret(t *testing.T) {
	client := secrets{get(secretmanager.NewClient(ctx))(t), t}
	guest := secrets{get(secretmanager.NewClient(ctx, as(t, "guest")))(t), t}
	mine, other := client.create(fresh("mine")), client.create(fresh("other"))
	for _, each := range []*secretmanagerpb.Secret{mine, other} {
		client.add(each.Name, "value")
		defer client.DeleteSecret(ctx, &secretmanagerpb.DeleteSecretRequest{Name: each.Name})
	}
	handle := client.IAM(mine.Name)
	policy := get(handle.Policy(ctx))(t)
	policy.Add(member("guest"), "roles/secretmanager.secretAccessor")
	ok(t, handle.SetPolicy(ctx, policy))

	equal(t, get(guest.value(mine.Name+"/versions/latest"))(t), "value")
	refused(t, failed(guest.value(other.Name+"/versions/latest")), codes.PermissionDenied,
		"Permission 'secretmanager.versions.access' denied")
}

func TestSecretManagerNotifiesTopics(t *testing.T) {
	client := secrets{get(secretmanager.NewClient(ctx))(t), t}
	topic := newTopic(t, nil)
	subscription := newSubscription(t, topic, nil)
	number := get(projectsClient(t).GetProject(ctx, projectRequest()))(t).Name[len("projects/"):]
	secret := client.create(fresh("go"))
	defer client.DeleteSecret(ctx, &secretmanagerpb.DeleteSecretRequest{Name: secret.Name})
	configure := &secretmanagerpb.UpdateSecretRequest{
		Secret: &secretmanagerpb.Secret{
			Name: secret.Name, Topics: []*secretmanagerpb.Topic{{Name: topic}},
			Rotation: &secretmanagerpb.Rotation{NextRotationTime: timestamppb.New(time.Now().Add(time.Hour))},
		},
		UpdateMask: mask("topics", "rotation"),
	}
	refused(t, failed(client.UpdateSecret(ctx, configure)), codes.PermissionDenied, "pubsub.topics.publish")
	grantTopic(t, topic, "roles/pubsub.publisher", "serviceAccount:service-"+number+"@gcp-sa-secretmanager.iam.gserviceaccount.com")
	get(client.UpdateSecret(ctx, configure))(t)
	added := client.add(secret.Name, "one")
	kinds := []string{}
	for len(kinds) < 3 {
		message := pullOne(t, subscription)
		kinds = append(kinds, message.Message.Attributes["eventType"])
		if version := message.Message.Attributes["versionId"]; version != "" {
			equal(t, version, added.Name)
		}
		acknowledge(t, subscription, message)
	}
	equal(t, sorted(kinds), []string{"SECRET_UPDATE", "SECRET_VERSION_ADD", "TOPIC_CONFIGURED"})
}
