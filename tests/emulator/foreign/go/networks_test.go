package clients

import (
	"testing"

	"google.golang.org/api/compute/v1"
	servicenetworking "google.golang.org/api/servicenetworking/v1"
	"google.golang.org/grpc/codes"
)

func computeApi(t *testing.T) *compute.Service {
	t.Helper()
	return get(compute.NewService(ctx))(t)
}

// done waits for an operation of the project or of the region.
func done(t *testing.T, api *compute.Service, operation *compute.Operation, err error) *compute.Operation {
	t.Helper()
	ok(t, err)
	if operation.Region != "" {
		operation = get(api.RegionOperations.Wait(project, region, operation.Name).Do())(t)
	} else {
		operation = get(api.GlobalOperations.Wait(project, operation.Name).Do())(t)
	}
	equal(t, operation.Status, "DONE")
	if operation.Error != nil {
		t.Errorf("%s failed: %s", operation.OperationType, operation.Error.Errors[0].Message)
	}
	return operation
}

func newNetwork(t *testing.T, api *compute.Service, automatic bool) *compute.Network {
	t.Helper()
	network := &compute.Network{Name: fresh("go"), AutoCreateSubnetworks: automatic, ForceSendFields: []string{"AutoCreateSubnetworks"}}
	operation, err := api.Networks.Insert(project, network).Do()
	done(t, api, operation, err)
	t.Cleanup(func() { api.Networks.Delete(project, network.Name).Do() })
	return get(api.Networks.Get(project, network.Name).Do())(t)
}

func TestNetworks(t *testing.T) {
	api := computeApi(t)
	network := newNetwork(t, api, true)
	equal(t, []any{network.AutoCreateSubnetworks, len(network.Subnetworks), network.RoutingConfig.RoutingMode}, []any{true, 1, "REGIONAL"})
	refused(t, failed(api.Networks.Insert(project, &compute.Network{Name: network.Name, AutoCreateSubnetworks: true}).Do()), codes.AlreadyExists, "already exists")
	refused(t, failed(api.Networks.Insert(project, &compute.Network{Name: "No Good", AutoCreateSubnetworks: true}).Do()), codes.InvalidArgument, "Invalid value for field 'resource.name'")
	operation, err := api.Networks.Patch(project, network.Name, &compute.Network{
		RoutingConfig: &compute.NetworkRoutingConfig{RoutingMode: "GLOBAL"},
	}).Do()
	done(t, api, operation, err)
	operation, err = api.Networks.SwitchToCustomMode(project, network.Name).Do()
	finished := done(t, api, operation, err)
	found := get(api.Networks.Get(project, network.Name).Do())(t)
	equal(t, []any{found.AutoCreateSubnetworks, found.RoutingConfig.RoutingMode}, []any{false, "GLOBAL"})
	networks := get(api.Networks.List(project).Filter("name=" + network.Name).Do())(t).Items
	equal(t, names(networks, func(each *compute.Network) string { return each.SelfLink }), []string{network.SelfLink})
	contains(t, names(get(api.Networks.List(project).Do())(t).Items, func(each *compute.Network) string { return each.Name }), network.Name)
	equal(t, get(api.GlobalOperations.Get(project, finished.Name).Do())(t).TargetLink, network.SelfLink)
	contains(t, names(get(api.GlobalOperations.List(project).Do())(t).Items, func(each *compute.Operation) string { return each.Name }), finished.Name)

	name := lastPart(network.Subnetworks[0])
	operation, err = api.Subnetworks.Delete(project, region, name).Do()
	done(t, api, operation, err)
	operation, err = api.Networks.Delete(project, network.Name).Do()
	done(t, api, operation, err)
	refused(t, failed(api.Networks.Get(project, network.Name).Do()), codes.NotFound, "was not found")
	guest := get(compute.NewService(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.Networks.Get(project, "default").Do()), codes.PermissionDenied, "compute.networks.get")
	equal(t, get(api.Regions.Get(project, region).Do())(t).Name, region)
	contains(t, names(get(api.Regions.List(project).Do())(t).Items, func(each *compute.Region) string { return each.Name }), region)
}

func TestSubnetworksAndAddresses(t *testing.T) {
	api := computeApi(t)
	network := newNetwork(t, api, false)
	subnetwork := &compute.Subnetwork{Name: fresh("go"), Network: network.SelfLink, IpCidrRange: "10.1.0.0/24"}
	operation, err := api.Subnetworks.Insert(project, region, subnetwork).Do()
	finished := done(t, api, operation, err)
	overlapping := &compute.Subnetwork{Name: fresh("go"), Network: network.SelfLink, IpCidrRange: "10.1.0.128/25"}
	refused(t, failed(api.Subnetworks.Insert(project, region, overlapping).Do()), codes.InvalidArgument, "conflicts with")
	operation, err = api.Subnetworks.SetPrivateIpGoogleAccess(project, region, subnetwork.Name,
		&compute.SubnetworksSetPrivateIpGoogleAccessRequest{PrivateIpGoogleAccess: true}).Do()
	done(t, api, operation, err)
	found := get(api.Subnetworks.Get(project, region, subnetwork.Name).Do())(t)
	equal(t, []any{found.GatewayAddress, found.PrivateIpGoogleAccess}, []any{"10.1.0.1", true})
	contains(t, names(get(api.Subnetworks.List(project, region).Do())(t).Items, func(each *compute.Subnetwork) string { return each.Name }), found.Name)
	everywhere := get(api.Subnetworks.AggregatedList(project).Do())(t).Items["regions/"+region].Subnetworks
	contains(t, names(everywhere, func(each *compute.Subnetwork) string { return each.Name }), found.Name)
	equal(t, get(api.RegionOperations.Get(project, region, finished.Name).Do())(t).TargetLink, found.SelfLink)
	operations := get(api.RegionOperations.List(project, region).Do())(t).Items
	contains(t, names(operations, func(each *compute.Operation) string { return each.Name }), finished.Name)
	refused(t, failed(api.Networks.Delete(project, network.Name).Do()), codes.InvalidArgument, "already being used by")

	address := &compute.Address{Name: fresh("go"), AddressType: "INTERNAL", Subnetwork: found.SelfLink, Address: "10.1.0.9"}
	operation, err = api.Addresses.Insert(project, region, address).Do()
	done(t, api, operation, err)
	equal(t, get(api.Addresses.Get(project, region, address.Name).Do())(t).Address, "10.1.0.9")
	contains(t, names(get(api.Addresses.List(project, region).Do())(t).Items, func(each *compute.Address) string { return each.Name }), address.Name)
	aggregated := get(api.Addresses.AggregatedList(project).Do())(t).Items["regions/"+region].Addresses
	contains(t, names(aggregated, func(each *compute.Address) string { return each.Name }), address.Name)
	operation, err = api.Addresses.Delete(project, region, address.Name).Do()
	done(t, api, operation, err)
	refused(t, failed(api.Addresses.Get(project, region, address.Name).Do()), codes.NotFound, "was not found")
	operation, err = api.Subnetworks.Delete(project, region, subnetwork.Name).Do()
	done(t, api, operation, err)
}

func TestServiceNetworking(t *testing.T) {
	api := computeApi(t)
	peering := get(servicenetworking.NewService(ctx))(t)
	network := newNetwork(t, api, false)
	number := get(projectsClient(t).GetProject(ctx, projectRequest()))(t).Name
	full := number + "/global/networks/" + network.Name
	ranges := []string{fresh("go"), fresh("go")}
	for _, each := range ranges {
		operation, err := api.GlobalAddresses.Insert(project, &compute.Address{
			Name: each, AddressType: "INTERNAL", Purpose: "VPC_PEERING", PrefixLength: 24, Network: network.SelfLink,
		}).Do()
		done(t, api, operation, err)
		equal(t, get(api.GlobalAddresses.Get(project, each).Do())(t).PrefixLength, int64(24))
	}
	contains(t, names(get(api.GlobalAddresses.List(project).Do())(t).Items, func(each *compute.Address) string { return each.Name }), ranges...)
	service := "services/servicenetworking.googleapis.com"
	connection := &servicenetworking.Connection{Network: full, ReservedPeeringRanges: ranges[:1]}
	made := get(peering.Services.Connections.Create(service, connection).Do())(t)
	equal(t, get(peering.Operations.Get(made.Name).Do())(t).Done, true)
	connection.ReservedPeeringRanges = ranges
	get(peering.Services.Connections.Patch(service+"/connections/-", connection).Force(true).Do())(t)
	listed := get(peering.Services.Connections.List(service).Network(full).Do())(t).Connections
	equal(t, []any{len(listed), sorted(listed[0].ReservedPeeringRanges)}, []any{1, sorted(ranges)})
	refused(t, failed(peering.Services.Connections.List(service).Network("no network").Do()), codes.InvalidArgument, "")
	get(peering.Services.Connections.DeleteConnection(service+"/connections/servicenetworking-googleapis-com",
		&servicenetworking.DeleteConnectionRequest{ConsumerNetwork: full}).Do())(t)
	equal(t, len(get(peering.Services.Connections.List(service).Network(full).Do())(t).Connections), 0)
	for _, each := range ranges {
		operation, err := api.GlobalAddresses.Delete(project, each).Do()
		done(t, api, operation, err)
	}
}

func TestFirewallsAndRoutes(t *testing.T) {
	api := computeApi(t)
	network := newNetwork(t, api, false)
	name := fresh("go")
	rule := &compute.Firewall{
		Name: name, Network: network.SelfLink, SourceRanges: []string{"10.0.0.0/8"},
		Allowed: []*compute.FirewallAllowed{{IPProtocol: "tcp", Ports: []string{"80"}}},
	}
	operation, err := api.Firewalls.Insert(project, rule).Do()
	done(t, api, operation, err)
	refused(t, failed(api.Firewalls.Insert(project, rule).Do()), codes.AlreadyExists, "already exists")
	made := get(api.Firewalls.Get(project, name).Do())(t)
	equal(t, []any{made.Direction, made.Priority, made.Allowed[0].Ports}, []any{"INGRESS", int64(1000), []string{"80"}})
	operation, err = api.Firewalls.Patch(project, name, &compute.Firewall{Priority: 7}).Do()
	done(t, api, operation, err)
	patched := get(api.Firewalls.Get(project, name).Do())(t)
	equal(t, []any{patched.Priority, patched.SourceRanges}, []any{int64(7), []string{"10.0.0.0/8"}})
	rule.SourceRanges = []string{"10.1.0.0/16"}
	operation, err = api.Firewalls.Update(project, name, rule).Do()
	done(t, api, operation, err)
	replaced := get(api.Firewalls.Get(project, name).Do())(t)
	equal(t, []any{replaced.Priority, replaced.SourceRanges}, []any{int64(1000), []string{"10.1.0.0/16"}})
	wrong := &compute.Firewall{Priority: 65536}
	refused(t, failed(api.Firewalls.Patch(project, name, wrong).Do()), codes.InvalidArgument, "from 0 to 65535")
	rules := get(api.Firewalls.List(project).Do())(t).Items
	contains(t, names(rules, func(each *compute.Firewall) string { return each.Name }), name, "default-allow-ssh")
	operation, err = api.Firewalls.Delete(project, name).Do()
	done(t, api, operation, err)
	refused(t, failed(api.Firewalls.Get(project, name).Do()), codes.NotFound, "was not found")

	route := &compute.Route{
		Name: name, Network: network.SelfLink, DestRange: "10.9.0.0/16", Priority: 100,
		NextHopGateway: "projects/" + project + "/global/gateways/default-internet-gateway",
	}
	operation, err = api.Routes.Insert(project, route).Do()
	done(t, api, operation, err)
	equal(t, get(api.Routes.Get(project, name).Do())(t).DestRange, "10.9.0.0/16")
	routes := get(api.Routes.List(project).Do())(t).Items
	contains(t, names(routes, func(each *compute.Route) string { return each.Name }), name)
	operation, err = api.Routes.Delete(project, name).Do()
	done(t, api, operation, err)
	refused(t, failed(api.Routes.Get(project, name).Do()), codes.NotFound, "was not found")
}
