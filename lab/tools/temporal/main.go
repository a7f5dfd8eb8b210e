// Command temporal-lab runs one Temporal server (frontend, history, matching and
// worker) with its web UI in one process, over one SQLite file. It may be killed
// at any moment and started again on the same file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	sqliteschema "go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
)

const host = "127.0.0.1"

type options struct {
	port, uiPort int
	db           string
	namespace    string
	attributes   string
	level        string
}

func main() {
	var o options
	flag.IntVar(&o.port, "port", 7233, "gRPC port; the three following serve the other roles, the fourth HTTP")
	flag.IntVar(&o.uiPort, "ui-port", 0, "port of the web UI; 0 for none")
	flag.StringVar(&o.db, "db", "temporal.db", "SQLite file, made if it is not there")
	flag.StringVar(&o.namespace, "namespace", "default", "namespace to have")
	flag.StringVar(&o.attributes, "search-attributes", "", "search attributes to have: Name=Keyword,Other=Int,...")
	flag.StringVar(&o.level, "log-level", "warn", "debug, info, warn or error")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "temporal-lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	attributes, err := parseAttributes(o.attributes)
	if err != nil {
		return err
	}
	sql := database(o.db)
	if err := prepare(o.db); err != nil {
		return err
	}
	ns, err := sqliteschema.NewNamespaceConfig("active", o.namespace, false, attributes)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", o.namespace, err)
	}
	// A namespace that is there already is left as it is.
	if err := sqliteschema.CreateNamespaces(sql, ns); err != nil {
		return fmt.Errorf("namespace %s: %w", o.namespace, err)
	}
	srv, err := temporal.NewServer(serverOptions(o, sql)...)
	if err != nil {
		return fmt.Errorf("build the server: %w", err)
	}
	if err := srv.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	if err := register(ctx, address(o.port), o.namespace, attributes); err != nil {
		return errors.Join(err, srv.Stop())
	}
	uiFailed := make(chan error, 1)
	if o.uiPort > 0 {
		ui := uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
			Host: host, Port: o.uiPort, TemporalGRPCAddress: address(o.port), EnableUI: true, HideLogs: true,
			CORS: uiconfig.CORS{CookieInsecure: true}, DisableNewsFetch: true,
		}))
		go func() { uiFailed <- ui.Start() }()
	}
	fmt.Println("ready", address(o.port))
	select {
	case <-ctx.Done():
	case err = <-uiFailed:
		err = fmt.Errorf("web UI on port %d: %w", o.uiPort, err)
	}
	return errors.Join(err, srv.Stop())
}

func address(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func parseAttributes(list string) (map[string]enums.IndexedValueType, error) {
	attributes := map[string]enums.IndexedValueType{}
	for _, pair := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		name, kind, _ := strings.Cut(pair, "=")
		v, err := enums.IndexedValueTypeFromString(kind)
		if err != nil {
			return nil, fmt.Errorf("search attribute %q: want Name=Keyword, Text, Int, Double, Bool, Datetime or KeywordList: %w", pair, err)
		}
		attributes[name] = v
	}
	return attributes, nil
}

// database is the store's configuration. With a write-ahead log and normal
// synchronisation nothing that was answered is lost when the process is killed,
// only when the machine is.
func database(path string) *config.SQL {
	return &config.SQL{
		PluginName: sqliteplugin.PluginName, DatabaseName: path,
		ConnectAttributes: map[string]string{"mode": "rwc", "journal_mode": "wal", "synchronous": "normal", "busy_timeout": "10000"},
	}
}

// prepare makes the schema in a file beside path and renames it, so that a
// process killed meanwhile leaves no half-made database.
func prepare(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for the database: %w", err)
	}
	fresh := path + ".new"
	for _, f := range []string{fresh, fresh + "-wal", fresh + "-shm"} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what an earlier start left: %w", err)
		}
	}
	sql := database(fresh)
	sql.ConnectAttributes["journal_mode"] = "delete" // one file, which can be renamed
	if err := sqliteschema.SetupSchema(sql); err != nil {
		return fmt.Errorf("make the schema in %s: %w", fresh, err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("put the database in its place: %w", err)
	}
	return nil
}

func serverOptions(o options, sql *config.SQL) []temporal.ServerOption {
	rpc := func(p, http int) config.Service {
		return config.Service{RPC: config.RPC{GRPCPort: p, HTTPPort: http, BindOnIP: host}}
	}
	cfg := &config.Config{
		Persistence: config.Persistence{
			DefaultStore: "sqlite", VisibilityStore: "sqlite", NumHistoryShards: 1,
			DataStores: map[string]config.DataStore{"sqlite": {SQL: sql}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10, MasterClusterName: "active", CurrentClusterName: "active",
			ClusterInformation: map[string]cluster.ClusterInformation{"active": {
				Enabled: true, InitialFailoverVersion: 1, ClusterID: "5f2a8c1e-0000-4000-8000-00000b4ea001",
				RPCAddress: address(o.port), HTTPAddress: address(o.port + 4),
			}},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			"frontend": rpc(o.port, o.port+4), "history": rpc(o.port+1, 0), "matching": rpc(o.port+2, 0), "worker": rpc(o.port+3, 0),
		},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		PublicClient: config.PublicClient{HostPort: address(o.port)},
	}
	cfg.NamespaceDefaults.Archival.History.State = "disabled"
	cfg.NamespaceDefaults.Archival.Visibility.State = "disabled"
	cfg.Global.Membership.MaxJoinDuration = 30 * time.Second
	cfg.Global.Membership.BroadcastAddress = host
	return []temporal.ServerOption{
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithLogger(log.NewZapLogger(log.BuildZapLogger(log.Config{Level: o.level}))),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithStaticHosts(map[primitives.ServiceName]static.Hosts{
			primitives.FrontendService: static.SingleLocalHost(address(o.port)),
			primitives.HistoryService:  static.SingleLocalHost(address(o.port + 1)),
			primitives.MatchingService: static.SingleLocalHost(address(o.port + 2)),
			primitives.WorkerService:   static.SingleLocalHost(address(o.port + 3)),
		}),
		temporal.WithDynamicConfigClient(dynamicconfig.StaticClient{
			dynamicconfig.MakeKey("system.forceSearchAttributesCacheRefreshOnRead"): true,
			dynamicconfig.MakeKey("frontend.persistenceMaxQPS"):                     10000,
			dynamicconfig.MakeKey("history.persistenceMaxQPS"):                      45000,
			// By default a shard looks for new tasks 20 times a second at most, and there is
			// one shard: all workflows of the server together would take 20 steps a second.
			dynamicconfig.MakeKey("history.transferProcessorMaxPollRPS"):   1000,
			dynamicconfig.MakeKey("history.timerProcessorMaxPollRPS"):      1000,
			dynamicconfig.MakeKey("history.visibilityProcessorMaxPollRPS"): 1000,
		}),
	}
}
