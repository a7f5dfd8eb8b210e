// Command bao-lab runs a small OpenBao core over file storage: the secret store
// of one laboratory region. It initialises and unseals itself, so that a killed
// region comes back by starting it again on the same folder; the unseal key and
// the root token lie in init.json there, which is fit for a laboratory alone.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	log "github.com/hashicorp/go-hclog"
	"github.com/openbao/openbao/builtin/credential/userpass"
	"github.com/openbao/openbao/builtin/logical/kv"
	"github.com/openbao/openbao/builtin/logical/transit"
	vaulthttp "github.com/openbao/openbao/http"
	"github.com/openbao/openbao/sdk/v2/helper/consts"
	"github.com/openbao/openbao/sdk/v2/logical"
	"github.com/openbao/openbao/sdk/v2/physical/file"
	"github.com/openbao/openbao/vault"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8200", "address to listen on")
	data := flag.String("data", "bao-data", "folder of the storage and of init.json")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *data); err != nil {
		fmt.Fprintln(os.Stderr, "bao-lab:", err)
		os.Exit(1)
	}
}

// keys is what init.json holds.
type keys struct {
	Unseal string `json:"unseal_key"` // hexadecimal
	Root   string `json:"root_token"`
}

func run(ctx context.Context, addr, data string) error {
	logger := log.New(&log.LoggerOptions{Level: log.Warn})
	storage := filepath.Join(data, "storage")
	if err := os.MkdirAll(storage, 0o700); err != nil {
		return fmt.Errorf("make the storage folder: %w", err)
	}
	physical, err := file.NewFileBackend(map[string]string{"path": storage}, logger)
	if err != nil {
		return fmt.Errorf("open storage %s: %w", storage, err)
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           physical,
		Logger:             logger,
		BuiltinRegistry:    noPlugins{},
		LogicalBackends:    map[string]logical.Factory{"kv": kv.Factory, "transit": transit.Factory},
		CredentialBackends: map[string]logical.Factory{"userpass": userpass.Factory},
	})
	if err != nil {
		return fmt.Errorf("build the core: %w", err)
	}
	if err := unseal(ctx, core, filepath.Join(data, "init.json")); err != nil {
		return err
	}
	srv := &http.Server{
		Addr:              addr,
		Handler:           vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() {
		<-ctx.Done()
		srv.Close()
	}()
	fmt.Println("ready", addr)
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", addr, err)
	}
	return nil
}

// unseal opens the core with the key in path, and makes both the first time.
func unseal(ctx context.Context, core *vault.Core, path string) error {
	var k keys
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		res, err := core.Initialize(ctx, &vault.InitParams{
			BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
		})
		if err != nil {
			return fmt.Errorf("initialise: %w", err)
		}
		k = keys{Unseal: hex.EncodeToString(res.SecretShares[0]), Root: res.RootToken}
		if text, err = json.Marshal(k); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return fmt.Errorf("keep the unseal key: %w", err)
		}
	case err != nil:
		return fmt.Errorf("read the unseal key: %w", err)
	default:
		if err := json.Unmarshal(text, &k); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
	key, err := hex.DecodeString(k.Unseal)
	if err != nil {
		return fmt.Errorf("unseal key in %s: %w", path, err)
	}
	if _, err := core.Unseal(key); err != nil {
		return fmt.Errorf("unseal: %w", err)
	}
	return nil
}

// noPlugins satisfies vault.BuiltinRegistry: what the laboratory mounts is named
// in LogicalBackends and CredentialBackends. With a nil registry every mount
// panics in the plugin catalogue although the server starts and reports health.
type noPlugins struct{}

func (noPlugins) Contains(string, consts.PluginType) bool { return false }

func (noPlugins) Keys(consts.PluginType) []string { return nil }

func (noPlugins) Get(string, consts.PluginType) (func() (any, error), bool) { return nil, false }

func (noPlugins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, false
}
