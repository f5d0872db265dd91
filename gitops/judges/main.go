// Asks the tools of GitOps what they make of Kubernetes objects, without a cluster: Argo CD's
// health checks and actions in the Lua interpreter that it embeds, Flux's health expressions in
// Flux's own evaluator, and kstatus in the library that Flux, Helm and others compute it with.
//
// Reads one JSON document from standard input and writes one to standard output:
//
//	{"objects": [...], "argo": {"health": "LUA", "discovery": "LUA", "actions": {"cancel": "LUA"}},
//	 "flux": {"current": "CEL", "inProgress": "CEL", "failed": "CEL"}}
//	[{"argo": {"status": "...", "message": "..."}, "flux": {"status": "..."},
//	  "kstatus": {"status": "...", "message": "..."}, ...}, ...]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
)

// Argo CD ends a script that takes longer.
const patience = time.Second

type question struct {
	Objects []*unstructured.Unstructured     `json:"objects"`
	Argo    scripts                          `json:"argo"`
	Flux    kustomize.HealthCheckExpressions `json:"flux"`
}

type scripts struct {
	Health    string            `json:"health"`
	Discovery string            `json:"discovery"`
	Actions   map[string]string `json:"actions"`
}

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

type answer struct {
	Argo    verdict                    `json:"argo"`
	Flux    verdict                    `json:"flux"`
	Kstatus verdict                    `json:"kstatus"`
	Offered json.RawMessage            `json:"offered,omitempty"`
	After   map[string]json.RawMessage `json:"after,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "judges:", err)
		os.Exit(1)
	}
}

func run() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return fmt.Errorf("reading the question: %w", err)
	}
	flux, err := cel.NewStatusEvaluator(&asked.Flux)
	if err != nil {
		return err
	}
	answers := make([]answer, 0, len(asked.Objects))
	for _, object := range asked.Objects {
		told, err := judge(object, asked.Argo, flux)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", object.GetNamespace(), object.GetName(), err)
		}
		answers = append(answers, told)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func judge(object *unstructured.Unstructured, argo scripts, flux *cel.StatusEvaluator) (answer, error) {
	var told answer
	health, err := execute(argo.Health, object)
	if err != nil {
		return told, err
	}
	if err := json.Unmarshal(health, &told.Argo); err != nil {
		return told, err
	}
	if told.Offered, err = execute(argo.Discovery, object); err != nil {
		return told, err
	}
	told.After = map[string]json.RawMessage{}
	for name, script := range argo.Actions {
		if told.After[name], err = execute(script, object); err != nil {
			return told, err
		}
	}
	if said, err := flux.Evaluate(context.Background(), object); err != nil {
		told.Flux = verdict{"Error", err.Error()}
	} else {
		told.Flux = verdict{said.Status.String(), said.Message}
	}
	said, err := status.Compute(object)
	if err != nil {
		return told, err
	}
	told.Kstatus = verdict{said.Status.String(), said.Message}
	return told, nil
}

// The value that a script returns, as JSON. The script finds the object in the global obj, and no
// more of Lua's libraries than Argo CD opens for a script from its configuration (which has a part
// of os, too).
func execute(script string, object *unstructured.Unstructured) (json.RawMessage, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	limited, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	state.SetContext(limited)
	state.SetGlobal("obj", toLua(state, object.Object))
	if err := state.DoString(script); err != nil {
		return nil, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return nil, errors.New("the script returned no table but " + returned.Type().String())
	}
	return luajson.Encode(returned)
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	}
	return lua.LNil
}
