package clients

import (
	"testing"

	artifactregistry "cloud.google.com/go/artifactregistry/apiv1"
	"cloud.google.com/go/artifactregistry/apiv1/artifactregistrypb"
	budgets "cloud.google.com/go/billing/budgets/apiv1"
	"cloud.google.com/go/billing/budgets/apiv1/budgetspb"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc/codes"
)

func TestBudgets(t *testing.T) {
	client := get(budgets.NewBudgetClient(ctx, as(t, "deployer")))(t)
	account := "billingAccounts/01AB23-456789-CDEF01"
	amount := func(units int64) *budgetspb.BudgetAmount {
		return &budgetspb.BudgetAmount{BudgetAmount: &budgetspb.BudgetAmount_SpecifiedAmount{
			SpecifiedAmount: &money.Money{CurrencyCode: "AUD", Units: units},
		}}
	}
	made := get(client.CreateBudget(ctx, &budgetspb.CreateBudgetRequest{Parent: account, Budget: &budgetspb.Budget{
		DisplayName: "go", BudgetFilter: &budgetspb.Filter{Projects: []string{parent}}, Amount: amount(500),
		ThresholdRules: []*budgetspb.ThresholdRule{{ThresholdPercent: 0.5}},
	}}))(t)
	equal(t, []any{made.BudgetFilter.CreditTypesTreatment, made.ThresholdRules[0].SpendBasis},
		[]any{budgetspb.Filter_INCLUDE_ALL_CREDITS, budgetspb.ThresholdRule_CURRENT_SPEND})
	change := &budgetspb.UpdateBudgetRequest{
		Budget: &budgetspb.Budget{Name: made.Name, DisplayName: "new", Amount: amount(9), Etag: made.Etag}, UpdateMask: mask("display_name"),
	}
	changed := get(client.UpdateBudget(ctx, change))(t)
	equal(t, []any{changed.DisplayName, changed.Amount.GetSpecifiedAmount().Units}, []any{"new", int64(500)})
	refused(t, failed(client.UpdateBudget(ctx, change)), codes.Aborted, "")
	equal(t, get(client.GetBudget(ctx, &budgetspb.GetBudgetRequest{Name: made.Name}))(t), changed)
	found := all(t, client.ListBudgets(ctx, &budgetspb.ListBudgetsRequest{Parent: account, Scope: parent}).Next)
	contains(t, names(found, (*budgetspb.Budget).GetName), made.Name)
	_, err := client.CreateBudget(ctx, &budgetspb.CreateBudgetRequest{Parent: account, Budget: &budgetspb.Budget{
		BudgetFilter: &budgetspb.Filter{Projects: []string{parent}, Services: []string{"services/1"}}, Amount: amount(1),
	}})
	refused(t, err, codes.Unimplemented, "services")
	guest := get(budgets.NewBudgetClient(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.GetBudget(ctx, &budgetspb.GetBudgetRequest{Name: made.Name})), codes.PermissionDenied, "")
	ok(t, client.DeleteBudget(ctx, &budgetspb.DeleteBudgetRequest{Name: made.Name}))
	refused(t, failed(client.GetBudget(ctx, &budgetspb.GetBudgetRequest{Name: made.Name})), codes.NotFound, "")
}

func TestArtifactRegistry(t *testing.T) {
	client := get(artifactregistry.NewClient(ctx))(t)
	create := &artifactregistrypb.CreateRepositoryRequest{Parent: place, RepositoryId: fresh("go"), Repository: &artifactregistrypb.Repository{
		Format: artifactregistrypb.Repository_DOCKER, Description: "images",
	}}
	made := get(get(client.CreateRepository(ctx, create))(t).Wait(ctx))(t)
	equal(t, made.RegistryUri, "us-west1-docker.pkg.dev/"+project+"/"+create.RepositoryId)
	refused(t, failed(client.CreateRepository(ctx, create)), codes.AlreadyExists, "the repository already exists")
	changed := get(client.UpdateRepository(ctx, &artifactregistrypb.UpdateRepositoryRequest{
		Repository: &artifactregistrypb.Repository{Name: made.Name, Labels: map[string]string{"a": "1"}}, UpdateMask: mask("labels"),
	}))(t)
	equal(t, []string{changed.Description, changed.Labels["a"]}, []string{"images", "1"})
	equal(t, get(client.GetRepository(ctx, &artifactregistrypb.GetRepositoryRequest{Name: made.Name}))(t), changed)
	found := all(t, client.ListRepositories(ctx, &artifactregistrypb.ListRepositoriesRequest{Parent: place, PageSize: 1}).Next)
	contains(t, names(found, (*artifactregistrypb.Repository).GetName), made.Name)
	checkPolicy(t, client, made.Name, "roles/artifactregistry.reader", "artifactregistry.repositories.get")
	ok(t, get(client.DeleteRepository(ctx, &artifactregistrypb.DeleteRepositoryRequest{Name: made.Name}))(t).Wait(ctx))
	refused(t, failed(client.GetRepository(ctx, &artifactregistrypb.GetRepositoryRequest{Name: made.Name})), codes.NotFound, "")
	guest := get(artifactregistry.NewClient(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.CreateRepository(ctx, create)), codes.PermissionDenied, "artifactregistry.repositories.create")
}
