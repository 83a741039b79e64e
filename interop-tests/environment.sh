# Sourced by the `run` programs: packages at the pinned versions, in a cache outside the checkout.
# A folder's cache is named after its lock file, so a changed lock is a new installation.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[1]}")"
name=$(basename "$PWD")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/leveret/interop

# installed LOCK-FILE: sets $home to the folder for these packages; true when they are all there.
installed() {
  home=$cache/$name-$(cksum <"$1" | tr -s ' ' - | cut -d- -f1,2)
  [ -e "$home/.complete" ]
}

# Sets $python to an interpreter that has the packages of requirements.txt.
python_packages() {
  if ! installed requirements.txt; then
    rm -rf "$home"
    mkdir -p "$cache"
    python3 -m venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
      --requirement requirements.txt
    touch "$home/.complete"
  fi
  python=$home/bin/python
  export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
}

# Lets node find the packages of package-lock.json.
node_packages() {
  if ! installed package-lock.json; then
    rm -rf "$home"
    mkdir -p "$home"
    cp package.json package-lock.json "$home"
    (cd "$home" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    touch "$home/.complete"
  fi
  export NODE_PATH=$home/node_modules
}

# prepared ARGUMENTS-OF-RUN: ends the program here when it was only asked to prepare.
prepared() {
  if [ "${1:-}" = prepare ]; then exit 0; fi
  : "${AMQP_URL:?names the broker under test}" "${MGMT_PORT:?is the port of its management API}"
}
