package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"breakwater/lab/oracle"
	"breakwater/lab/server"
	"breakwater/lab/traffic"
	"breakwater/lab/wan"
)

// The laboratory's own processes, the line between the regions and the worker of
// the pipelines, are this very program started once more with childEnv set: so
// every program that links this package, a test's binary too, can start them.
const (
	childEnv    = "BREAKWATER_LAB_CHILD"
	childDirEnv = "BREAKWATER_LAB_CHILD_DIR"
)

func init() {
	name := os.Getenv(childEnv)
	if name == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := child(ctx, name, os.Getenv(childDirEnv))
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(ctx context.Context, name, dir string) error {
	l, err := Load(dir)
	if err != nil {
		return err
	}
	switch name {
	case "wan":
		conditions := Conditions()
		return wan.Serve(ctx, l.addr("line-control"), []wan.Route{
			{Name: LineObjects, Listen: l.addr("line-" + LineObjects), Target: l.addr("minio-" + Standby), Condition: conditions[LineObjects]},
			{Name: LineKafka, Listen: l.addr("line-" + LineKafka), Target: l.brokerAddrs(Primary).Mirror, Condition: conditions[LineKafka]},
		}, nil)
	case "pipelines":
		return l.pipelines(ctx)
	}
	return fmt.Errorf("unknown process of the laboratory %q", name)
}

func (l *Lab) startChild(ctx context.Context, name string, probe func(context.Context) error) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return l.ensure(ctx, name, server.Command{Env: []string{childEnv + "=" + name, childDirEnv + "=" + l.Dir}, Bin: self}, probe)
}

func (l *Lab) pipelines(ctx context.Context) error {
	j, err := oracle.Open(l.OracleDir(), "pipelines")
	if err != nil {
		return err
	}
	tables := map[string]map[string]traffic.Table{}
	for _, region := range Regions() {
		tables[region] = map[string]traffic.Table{}
		for _, g := range groups() {
			tables[region][g.name] = l.trafficTable(region, g, g.tables[0])
		}
	}
	err = traffic.ServePipelines(ctx, traffic.Pipelines{
		Address: l.TemporalAddress(), Namespace: namespace, TaskQueue: taskQueue, Logger: quiet{}, Tables: tables,
	}, j)
	return errors.Join(err, j.Close())
}

// Line is the present condition of a line between the regions, [LineObjects] or
// [LineKafka].
func (l *Lab) Line(ctx context.Context, name string) (wan.Condition, error) {
	return wan.Get(ctx, l.addr("line-control"), name)
}

// MirrorVia is the address at which the primary's broker is reached over [LineKafka]: it
// is what the broker tells who asks there.
func (l *Lab) MirrorVia() string { return l.addr("line-" + LineKafka) }

// SetLine changes a line's condition, or cuts it.
func (l *Lab) SetLine(ctx context.Context, name string, c wan.Condition) error {
	return wan.Set(ctx, l.addr("line-control"), name, c)
}
