package clients

import (
	"testing"

	"google.golang.org/api/sqladmin/v1"
	"google.golang.org/grpc/codes"
)

func TestSql(t *testing.T) {
	t.Parallel()
	api := get(sqladmin.NewService(ctx))(t)
	done := func(operation *sqladmin.Operation, err error) {
		t.Helper()
		ok(t, err)
		until(t, func() bool {
			operation = get(api.Operations.Get(project, operation.Name).Do())(t)
			return operation.Status == "DONE"
		})
		if operation.Error != nil {
			t.Fatalf("%s failed: %s", operation.OperationType, operation.Error.Errors[0].Message)
		}
	}
	name := fresh("go")
	wanted := &sqladmin.DatabaseInstance{
		Name: name, DatabaseVersion: "POSTGRES_17", Region: region, RootPassword: "secret",
		Settings: &sqladmin.Settings{Tier: "db-custom-1-3840", Edition: "ENTERPRISE", DeletionProtectionEnabled: true},
	}
	begun := get(api.Instances.Insert(project, wanted).Do())(t)
	equal(t, []string{begun.OperationType, begun.TargetId}, []string{"CREATE", name})
	done(begun, nil)
	refused(t, failed(api.Instances.Insert(project, wanted).Do()), codes.AlreadyExists, "")
	made := get(api.Instances.Get(project, name).Do())(t)
	equal(t, []string{made.State, made.ConnectionName}, []string{"RUNNABLE", project + ":" + region + ":" + name})
	refused(t, failed(api.Instances.Delete(project, name).Do()), codes.InvalidArgument, "deletion protection")
	done(api.Instances.Patch(project, name, &sqladmin.DatabaseInstance{Settings: &sqladmin.Settings{
		DeletionProtectionEnabled: false, ForceSendFields: []string{"DeletionProtectionEnabled"},
	}}).Do())
	changed := get(api.Instances.Get(project, name).Do())(t)
	equal(t, []any{changed.Settings.DeletionProtectionEnabled, changed.Settings.Tier}, []any{false, "db-custom-1-3840"})
	changed.Settings.UserLabels = map[string]string{"a": "1"}
	done(api.Instances.Update(project, name, changed).Do())
	equal(t, get(api.Instances.Get(project, name).Do())(t).Settings.UserLabels, map[string]string{"a": "1"})
	refused(t, failed(api.Instances.Update(project, name, changed).Do()), codes.InvalidArgument, "")
	instances := get(api.Instances.List(project).Do())(t).Items
	contains(t, names(instances, func(each *sqladmin.DatabaseInstance) string { return each.Name }), name)

	checkContents(t, api, name, done)
	checkCopies(t, api, name, done)

	guest := get(sqladmin.NewService(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.Instances.Get(project, name).Do()), codes.PermissionDenied, "")
	operations := get(api.Operations.List(project).Instance(name).Do())(t).Items
	contains(t, names(operations, func(each *sqladmin.Operation) string { return each.Name }), begun.Name)
	done(api.Instances.Delete(project, name).Do())
	refused(t, failed(api.Instances.Get(project, name).Do()), codes.NotFound, "")
}

// checkContents makes and deletes a database and a user of an instance.
func checkContents(t *testing.T, api *sqladmin.Service, name string, done func(*sqladmin.Operation, error)) {
	t.Helper()
	done(api.Databases.Insert(project, name, &sqladmin.Database{Name: "app"}).Do())
	equal(t, get(api.Databases.Get(project, name, "app").Do())(t).Charset, "UTF8")
	databases := get(api.Databases.List(project, name).Do())(t).Items
	contains(t, names(databases, func(each *sqladmin.Database) string { return each.Name }), "app", "postgres")
	done(api.Databases.Delete(project, name, "app").Do())
	refused(t, failed(api.Databases.Get(project, name, "app").Do()), codes.NotFound, "")

	done(api.Users.Insert(project, name, &sqladmin.User{Name: "ada", Password: "1"}).Do())
	done(api.Users.Update(project, name, &sqladmin.User{Password: "2"}).Name("ada").Do())
	equal(t, get(api.Users.Get(project, name, "ada").Do())(t).Name, "ada")
	users := get(api.Users.List(project, name).Do())(t).Items
	contains(t, names(users, func(each *sqladmin.User) string { return each.Name }), "ada", "postgres")
	done(api.Users.Delete(project, name).Name("ada").Do())
	refused(t, failed(api.Users.Get(project, name, "ada").Do()), codes.NotFound, "")
}

// checkCopies backs an instance up, restores it, and makes a clone.
func checkCopies(t *testing.T, api *sqladmin.Service, name string, done func(*sqladmin.Operation, error)) {
	t.Helper()
	done(api.Databases.Insert(project, name, &sqladmin.Database{Name: "kept"}).Do())
	done(api.BackupRuns.Insert(project, name, &sqladmin.BackupRun{Description: "before"}).Do())
	runs := get(api.BackupRuns.List(project, name).Do())(t).Items
	equal(t, []any{len(runs), runs[0].Status, runs[0].Type, runs[0].Description}, []any{1, "SUCCESSFUL", "ON_DEMAND", "before"})
	done(api.Databases.Delete(project, name, "kept").Do())
	done(api.Instances.RestoreBackup(project, name, &sqladmin.InstancesRestoreBackupRequest{
		RestoreBackupContext: &sqladmin.RestoreBackupContext{BackupRunId: runs[0].Id, InstanceId: name},
	}).Do())
	equal(t, get(api.Databases.Get(project, name, "kept").Do())(t).Name, "kept")
	clone := &sqladmin.InstancesCloneRequest{CloneContext: &sqladmin.CloneContext{DestinationInstanceName: name + "-copy"}}
	done(api.Instances.Clone(project, name, clone).Do())
	equal(t, get(api.Databases.Get(project, name+"-copy", "kept").Do())(t).Name, "kept")
	refused(t, failed(api.Instances.Clone(project, name, clone).Do()), codes.AlreadyExists, "")
	done(api.Instances.Patch(project, name+"-copy", &sqladmin.DatabaseInstance{Settings: &sqladmin.Settings{
		DeletionProtectionEnabled: false, ForceSendFields: []string{"DeletionProtectionEnabled"},
	}}).Do())
	done(api.Instances.Delete(project, name+"-copy").Do())
	equal(t, get(api.BackupRuns.Get(project, name, runs[0].Id).Do())(t).Status, "SUCCESSFUL")
	done(api.BackupRuns.Delete(project, name, runs[0].Id).Do())
	refused(t, failed(api.BackupRuns.Get(project, name, runs[0].Id).Do()), codes.NotFound, "")

	file := "gs://" + newBucket(t, nil).BucketName() + "/dump.sql"
	export := &sqladmin.ExportContext{Uri: file, FileType: "SQL", Databases: []string{"kept"}}
	_, err := api.Instances.Export(project, name, &sqladmin.InstancesExportRequest{ExportContext: export}).Do()
	refused(t, err, codes.FailedPrecondition, "There is no PostgreSQL")
	load := &sqladmin.ImportContext{Uri: file, FileType: "SQL", Database: "kept"}
	_, err = api.Instances.Import(project, name, &sqladmin.InstancesImportRequest{ImportContext: load}).Do()
	refused(t, err, codes.FailedPrecondition, "There is no PostgreSQL")
	load.FileType = "BAK"
	_, err = api.Instances.Import(project, name, &sqladmin.InstancesImportRequest{ImportContext: load}).Do()
	refused(t, err, codes.Unimplemented, "must be SQL or CSV")
}
