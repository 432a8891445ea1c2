// Durable runs, side effects, audit and may-I of Fettle, for C++. See README.md.
#pragma once

#include "fettle/sdk/client.h"
#include "fettle/sdk/step_log.h"
#include "fettle/sdk/trace.h"
