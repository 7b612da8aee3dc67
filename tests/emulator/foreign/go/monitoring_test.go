package clients

import (
	"testing"
	"time"

	monitoring "cloud.google.com/go/monitoring/apiv3/v2"
	"cloud.google.com/go/monitoring/apiv3/v2/monitoringpb"
	"google.golang.org/genproto/googleapis/api/metric"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// condition is a policy with one condition.
func condition(filter, channel string) *monitoringpb.AlertPolicy {
	return &monitoringpb.AlertPolicy{
		DisplayName: "errors", Combiner: monitoringpb.AlertPolicy_OR, NotificationChannels: []string{channel},
		Conditions: []*monitoringpb.AlertPolicy_Condition{{
			DisplayName: "5xx", Condition: &monitoringpb.AlertPolicy_Condition_ConditionThreshold{
				ConditionThreshold: &monitoringpb.AlertPolicy_Condition_MetricThreshold{
					Filter: filter, Comparison: monitoringpb.ComparisonType_COMPARISON_GT,
					ThresholdValue: 1, Duration: durationpb.New(5 * time.Minute),
					Aggregations: []*monitoringpb.Aggregation{{
						AlignmentPeriod: durationpb.New(time.Minute), PerSeriesAligner: monitoringpb.Aggregation_ALIGN_RATE,
					}},
				},
			},
		}},
	}
}

func TestMonitoringAlertPolicies(t *testing.T) {
	account := as(t, "deployer")
	channels := get(monitoring.NewNotificationChannelClient(ctx, account))(t)
	policies := get(monitoring.NewAlertPolicyClient(ctx, account))(t)
	channel := get(channels.CreateNotificationChannel(ctx, &monitoringpb.CreateNotificationChannelRequest{
		Name: parent, NotificationChannel: &monitoringpb.NotificationChannel{
			Type: "email", Labels: map[string]string{"email_address": "ops@example.org"}, DisplayName: "ops",
		},
	}))(t)
	renamed := get(channels.UpdateNotificationChannel(ctx, &monitoringpb.UpdateNotificationChannelRequest{
		NotificationChannel: &monitoringpb.NotificationChannel{Name: channel.Name, DisplayName: "others", Type: "sms"},
		UpdateMask:          mask("display_name"),
	}))(t)
	equal(t, []string{renamed.DisplayName, renamed.Type}, []string{"others", "email"})
	equal(t, get(channels.GetNotificationChannel(ctx, &monitoringpb.GetNotificationChannelRequest{Name: channel.Name}))(t), renamed)
	listed := all(t, channels.ListNotificationChannels(ctx, &monitoringpb.ListNotificationChannelsRequest{Name: parent}).Next)
	contains(t, names(listed, (*monitoringpb.NotificationChannel).GetName), channel.Name)
	_, err := channels.CreateNotificationChannel(ctx, &monitoringpb.CreateNotificationChannelRequest{
		Name: parent, NotificationChannel: &monitoringpb.NotificationChannel{Type: "email"},
	})
	refused(t, err, codes.InvalidArgument, "email_address")

	count := `metric.type = "run.googleapis.com/request_count" AND resource.type = "cloud_run_revision"`
	made := get(policies.CreateAlertPolicy(ctx, &monitoringpb.CreateAlertPolicyRequest{Name: parent, AlertPolicy: condition(count, channel.Name)}))(t)
	equal(t, []any{made.Enabled.GetValue(), made.Conditions[0].GetConditionThreshold().Filter}, []any{true, count})
	_, err = policies.CreateAlertPolicy(ctx, &monitoringpb.CreateAlertPolicyRequest{Name: parent, AlertPolicy: condition("nothing", channel.Name)})
	refused(t, err, codes.InvalidArgument, "")
	changed := get(policies.UpdateAlertPolicy(ctx, &monitoringpb.UpdateAlertPolicyRequest{
		AlertPolicy: &monitoringpb.AlertPolicy{Name: made.Name, DisplayName: "others"}, UpdateMask: mask("display_name"),
	}))(t)
	equal(t, []any{changed.DisplayName, len(changed.Conditions)}, []any{"others", 1})
	equal(t, get(policies.GetAlertPolicy(ctx, &monitoringpb.GetAlertPolicyRequest{Name: made.Name}))(t), changed)
	alerts := all(t, policies.ListAlertPolicies(ctx, &monitoringpb.ListAlertPoliciesRequest{Name: parent}).Next)
	contains(t, names(alerts, (*monitoringpb.AlertPolicy).GetName), made.Name)
	deletion := &monitoringpb.DeleteNotificationChannelRequest{Name: channel.Name}
	refused(t, channels.DeleteNotificationChannel(ctx, deletion), codes.FailedPrecondition, "")
	ok(t, policies.DeleteAlertPolicy(ctx, &monitoringpb.DeleteAlertPolicyRequest{Name: made.Name}))
	refused(t, failed(policies.GetAlertPolicy(ctx, &monitoringpb.GetAlertPolicyRequest{Name: made.Name})), codes.NotFound, "")
	ok(t, channels.DeleteNotificationChannel(ctx, deletion))
	guest := get(monitoring.NewAlertPolicyClient(ctx, as(t, "guest")))(t)
	_, err = guest.GetAlertPolicy(ctx, &monitoringpb.GetAlertPolicyRequest{Name: made.Name})
	refused(t, err, codes.PermissionDenied, "monitoring.alertPolicies.get")
}

func TestMonitoringUptimeChecks(t *testing.T) {
	client := get(monitoring.NewUptimeCheckClient(ctx, as(t, "deployer")))(t)
	made := get(client.CreateUptimeCheckConfig(ctx, &monitoringpb.CreateUptimeCheckConfigRequest{
		Parent: parent, UptimeCheckConfig: &monitoringpb.UptimeCheckConfig{
			DisplayName: "site",
			Resource: &monitoringpb.UptimeCheckConfig_MonitoredResource{MonitoredResource: &monitoredres.MonitoredResource{
				Type: "uptime_url", Labels: map[string]string{"host": "example.org"},
			}},
			CheckRequestType: &monitoringpb.UptimeCheckConfig_HttpCheck_{HttpCheck: &monitoringpb.UptimeCheckConfig_HttpCheck{
				UseSsl: true, Path: "/health/",
			}},
		},
	}))(t)
	equal(t, []any{made.GetHttpCheck().Port, made.Period.AsDuration(), made.Timeout.AsDuration()},
		[]any{int32(443), time.Minute, 10 * time.Second})
	changed := get(client.UpdateUptimeCheckConfig(ctx, &monitoringpb.UpdateUptimeCheckConfigRequest{
		UptimeCheckConfig: &monitoringpb.UptimeCheckConfig{Name: made.Name, Period: durationpb.New(5 * time.Minute)},
		UpdateMask:        mask("period"),
	}))(t)
	equal(t, []any{changed.Period.AsDuration(), changed.DisplayName}, []any{5 * time.Minute, "site"})
	equal(t, get(client.GetUptimeCheckConfig(ctx, &monitoringpb.GetUptimeCheckConfigRequest{Name: made.Name}))(t), changed)
	checks := all(t, client.ListUptimeCheckConfigs(ctx, &monitoringpb.ListUptimeCheckConfigsRequest{Parent: parent}).Next)
	contains(t, names(checks, (*monitoringpb.UptimeCheckConfig).GetName), made.Name)
	_, err := client.UpdateUptimeCheckConfig(ctx, &monitoringpb.UpdateUptimeCheckConfigRequest{
		UptimeCheckConfig: &monitoringpb.UptimeCheckConfig{Name: made.Name, Period: durationpb.New(time.Second)},
		UpdateMask:        mask("period"),
	})
	refused(t, err, codes.InvalidArgument, "")
	ok(t, client.DeleteUptimeCheckConfig(ctx, &monitoringpb.DeleteUptimeCheckConfigRequest{Name: made.Name}))
	refused(t, failed(client.GetUptimeCheckConfig(ctx, &monitoringpb.GetUptimeCheckConfigRequest{Name: made.Name})), codes.NotFound, "")
}

func TestMonitoringCustomMetrics(t *testing.T) {
	client := get(monitoring.NewMetricClient(ctx, as(t, "deployer")))(t)
	kind := "custom.googleapis.com/go/baskets"
	name := parent + "/metricDescriptors/" + kind
	made := get(client.CreateMetricDescriptor(ctx, &monitoringpb.CreateMetricDescriptorRequest{
		Name: parent, MetricDescriptor: &metric.MetricDescriptor{
			Type: kind, MetricKind: metric.MetricDescriptor_GAUGE, ValueType: metric.MetricDescriptor_DOUBLE,
		},
	}))(t)
	equal(t, made.Name, name)
	point := &monitoringpb.Point{
		Interval: &monitoringpb.TimeInterval{EndTime: timestamppb.Now()},
		Value:    &monitoringpb.TypedValue{Value: &monitoringpb.TypedValue_DoubleValue{DoubleValue: 2.5}},
	}
	written := &monitoringpb.CreateTimeSeriesRequest{Name: parent, TimeSeries: []*monitoringpb.TimeSeries{{
		Metric: &metric.Metric{Type: kind}, Points: []*monitoringpb.Point{point},
	}}}
	ok(t, client.CreateTimeSeries(ctx, written))
	refused(t, client.CreateTimeSeries(ctx, written), codes.InvalidArgument, "Points must be written in order")
	ok(t, client.DeleteMetricDescriptor(ctx, &monitoringpb.DeleteMetricDescriptorRequest{Name: name}))
	_, err := client.GetMetricDescriptor(ctx, &monitoringpb.GetMetricDescriptorRequest{Name: name})
	refused(t, err, codes.NotFound, "")
}
