//! Instructions moved to another place, doing what they did.

use super::Plan;
use crate::tramp::asm::Asm;
use crate::{Error, Result, Unpatchable};
use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, FlowControl, Instruction, InstructionBlock, Register,
};

/// Displaced instructions at their new place.
pub struct Relocated {
    /// The bytes.
    pub code: Vec<u8>,
    /// (original address, new address) of each instruction.
    pub moved: Vec<(u64, u64)>,
}

impl Plan {
    /// Encodes the displaced instructions for address `at`. Control runs off the end, unless the last never goes on.
    pub fn relocate(&self, at: u64) -> Result<Relocated> {
        let mut asm = Asm::new(at);
        let mut moved = Vec::new();
        for insn in &self.displaced {
            let here = asm.here();
            moved.push((insn.ip(), here));
            let code = self.relocate_one(insn, here)?;
            asm.bytes(&code);
        }
        Ok(Relocated { code: asm.finish(), moved })
    }

    fn relocate_one(&self, insn: &Instruction, at: u64) -> Result<Vec<u8>> {
        match insn.flow_control() {
            FlowControl::Call if insn.code() == Code::Call_rel32_64 => {
                let mut code = push_address(insn.next_ip());
                let mut asm = Asm::new(at + code.len() as u64);
                asm.jump(insn.near_branch_target());
                code.extend(asm.finish());
                Ok(code)
            }
            FlowControl::IndirectCall => {
                let code = push_address(insn.next_ip());
                let jump =
                    indirect_jump(insn).ok_or_else(|| self.immovable(insn, "form of call"))?;
                let tail = self.encode(&jump, insn, at + code.len() as u64)?;
                Ok([code, tail].concat())
            }
            _ => self.encode(insn, insn, at),
        }
    }

    fn encode(&self, insn: &Instruction, original: &Instruction, at: u64) -> Result<Vec<u8>> {
        let block = [*insn];
        BlockEncoder::encode(64, InstructionBlock::new(&block, at), BlockEncoderOptions::NONE)
            .map(|result| result.code_buffer)
            .map_err(|e| self.immovable(original, &e.to_string()))
    }

    fn immovable(&self, insn: &Instruction, why: &str) -> Error {
        let why = Unpatchable::Immovable { at: insn.ip(), why: why.to_owned() };
        Error::Unpatchable { site: self.site, why }
    }
}

/// Pushes a 64-bit constant without using a register: the callee must see the original return address.
fn push_address(value: u64) -> Vec<u8> {
    let mut code = vec![0x68];
    code.extend((value as u32).to_le_bytes());
    code.extend([0xc7, 0x44, 0x24, 0x04]);
    code.extend(((value >> 32) as u32).to_le_bytes());
    code
}

/// The jump that goes where an indirect call goes, once the return address is on the stack.
fn indirect_jump(call: &Instruction) -> Option<Instruction> {
    let mut jump = *call;
    match call.code() {
        Code::Call_rm64 => jump.set_code(Code::Jmp_rm64),
        _ => return None,
    }
    if call.memory_base() == Register::RSP {
        jump.set_memory_displacement64(call.memory_displacement64().wrapping_add(8));
        jump.set_memory_displ_size(4);
    } else if call.op0_register() == Register::RSP {
        return None;
    }
    Some(jump)
}
